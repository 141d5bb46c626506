package operations

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"example.com/coffee/coffee"
)

// Running and the others are the statuses of an order, as [Status] and [Result] return
// them. Ended is that of an order that ended without a result.
const (
	Running    = string(coffee.StatusRunning)
	Completed  = string(coffee.StatusCompleted)
	Failed     = string(coffee.StatusFailed)
	Cancelled  = string(coffee.StatusCancelled)
	Ended      = "ENDED"
	Terminated = "TERMINATED"
)

// Invalid is the [Operation.Request] of an order that no worker should accept.
const Invalid = "invalid"

// order is an order as its clients know it: what was ordered, whether it was asked to
// cancel, and how it ended. The zero value is an order that was not placed.
type order struct {
	request   string
	cancelled bool
	ended     string
}

func (o order) running() bool { return o.request != "" && o.ended == "" }

// ends returns how an order can have ended by now, which no operation says.
func (o order) ends() (ends []order) {
	statuses := []string{o.ended}
	switch {
	case o.request == "":
		return nil
	case o.running() && o.request == Invalid && o.cancelled: // before a worker had it, perhaps
		statuses = []string{Ended, Cancelled}
	case o.running() && o.request == Invalid:
		statuses = []string{Ended}
	case o.running() && o.cancelled:
		statuses = []string{Completed, Failed, Cancelled}
	case o.running():
		statuses = []string{Completed, Failed}
	}
	for _, status := range statuses {
		ends = append(ends, order{o.request, o.cancelled, status})
	}
	return ends
}

// step returns what an order can be after an operation with this outcome; nothing if it
// cannot have had this outcome.
func (o order) step(op Operation) []order {
	placed, asked, again := order{request: op.Request}, o, o
	asked.cancelled, again.ended = true, ""
	switch kind := op.Kind; {
	case op.Outcome == Unknown: // it may have happened, or not
		op.Outcome = OK
		return append(o.step(op), o)
	case op.Outcome == NotFound:
		return only(o.request == "", o)
	case kind == Place && op.Outcome == OK && o.request == "":
		return []order{placed}
	case kind == Place && op.Outcome == OK:
		return only(o.request == op.Request, o)
	case kind == Place && op.Outcome == Conflict:
		return only(o.request != "" && o.request != op.Request, o)
	case kind == Request && op.Outcome == OK && o.ended != "": // to Temporal that is a success, too
		return []order{o}
	case (kind == Cancel || kind == Request) && op.Outcome == OK:
		return only(o.running(), asked)
	case kind == Terminate && op.Outcome == OK:
		return only(o.running(), order{o.request, o.cancelled, Terminated})
	case kind == Reset && op.Outcome == OK: // the signals may be left out
		return only(o.request != "", again, order{request: o.request})
	case op.Outcome == Over && kind == Terminate && o.running(): // by the same call, tried twice
		return append(o.ends(), order{o.request, o.cancelled, Terminated})
	case op.Outcome == Over && kind == Request && o.running():
		return append(o.ends(), asked.ends()...)
	case op.Outcome == Over:
		return o.ends()
	case kind == Status && op.Outcome == Running:
		return only(o.running(), o)
	}
	return slices.DeleteFunc(o.ends(), func(end order) bool {
		// To someone who only looks, an order without a result has failed.
		failed := op.Kind == Status && op.Outcome == Failed && (end.ended == Ended || end.ended == Terminated)
		return end.ended != op.Outcome && !failed
	})
}

func only(possible bool, states ...order) []order {
	if !possible {
		return nil
	}
	return states
}

// model is what porcupine checks, for each order by itself.
var model = (&porcupine.NondeterministicModel{
	Partition: partition,
	Init:      func() []any { return []any{order{}} },
	Step: func(state, input, output any) (next []any) {
		op := input.(Operation)
		op.Outcome = output.(string)
		for _, o := range state.(order).step(op) {
			next = append(next, o)
		}
		return next
	},
	DescribeOperation: func(input, output any) string {
		op := input.(Operation)
		return fmt.Sprintf("%s %s -> %s", op.Kind, op.Request, cmp.Or(output.(string), "?"))
	},
	DescribeState: func(state any) string { return fmt.Sprintf("%+v", state) },
}).ToModel()

// partition separates the operations of each order.
func partition(all []porcupine.Operation) (parts [][]porcupine.Operation) {
	byOrder := map[string][]porcupine.Operation{}
	for _, op := range all {
		id := op.Input.(Operation).Order
		byOrder[id] = append(byOrder[id], op)
	}
	for _, id := range slices.Sorted(maps.Keys(byOrder)) {
		parts = append(parts, byOrder[id])
	}
	return parts
}

// Check returns the ids of the orders whose operations cannot have had the outcomes that
// they had, in any sequence that their calls and returns allow. It gives up on an order
// after a minute, and returns it as undecided. Orders of which skip is true it leaves
// out; nil means none.
func Check(all []Operation, skip func(order string) bool) (violated, undecided []string) {
	for _, part := range partition(histories(all, skip)) {
		switch result := porcupine.CheckOperationsTimeout(model, part, time.Minute); result {
		case porcupine.Illegal:
			violated = append(violated, part[0].Input.(Operation).Order)
		case porcupine.Unknown:
			undecided = append(undecided, part[0].Input.(Operation).Order)
		}
	}
	return violated, undecided
}

// Draw writes a page that shows the operations of an order, and how far they can be
// explained.
func Draw(w io.Writer, all []Operation, id string) error {
	ops := histories(all, func(order string) bool { return order != id })
	_, info := porcupine.CheckOperationsVerbose(model, ops, time.Minute)
	return porcupine.Visualize(model, info, w)
}

// histories returns the operations as porcupine wants them. One without an answer ends
// after all others. Of those without an answer it leaves out what explains nothing more:
// all that only look, and all that ask for the same as enough others. Each can happen at
// any time after it began, and a second time makes a difference only after a reset.
func histories(all []Operation, skip func(order string) bool) (ops []porcupine.Operation) {
	enough := map[string]int{}
	for _, op := range all {
		if op.Kind == Reset {
			enough[op.Order]++
		}
	}
	clients := map[string]int{} // of each order: its operations may overlap
	type question struct {
		order, request string
		kind           Kind
	}
	asked := map[question]int{}
	for _, op := range all {
		if skip != nil && skip(op.Order) {
			continue
		}
		returned := op.Return
		if op.Outcome == Unknown {
			returned = math.MaxInt64
			q := question{op.Order, op.Request, op.Kind}
			if op.Kind == Status || op.Kind == Result || asked[q] > enough[op.Order] && op.Kind != Reset {
				continue
			}
			asked[q]++
		}
		ops = append(ops, porcupine.Operation{ClientId: clients[op.Order], Input: op, Call: op.Call, Output: op.Outcome, Return: returned})
		clients[op.Order]++
	}
	return ops
}
