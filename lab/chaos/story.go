//go:build unix && !noserver

package chaos

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/ledger"
)

// Pair is a step of an order, and what kind of fault there was meanwhile.
type Pair struct{ Step, Fault string }

// Names of steps and faults in pairs: what an activity's name is followed by while it is under
// way, and kills of what.
const (
	stepAccepted = "accepted"
	stepUnderWay = " under way"
	killServer   = "kill server"
	killClient   = "kill client"
	killWorker   = "kill worker"
)

// Sum sums up runs in virtual time.
type Sum struct {
	Runs, Acknowledged int
	Seconds            float64 // simulated
	// LateCharges came after their attempt was given up; the ledger has refused LateRefused.
	LateCharges, LateRefused int
	Hits                     map[string]int
	Pairs                    map[Pair]int
}

// Add adds a run.
func (s *Sum) Add(run *Simulated) {
	if s.Hits == nil {
		s.Hits, s.Pairs = map[string]int{}, map[Pair]int{}
	}
	s.Runs++
	s.Acknowledged += run.Acknowledged
	s.Seconds += run.Seconds
	s.LateCharges += run.LateCharges
	s.LateRefused += run.LateRefused
	for name, count := range run.Hits {
		s.Hits[name] += count
	}
	for pair, count := range run.Pairs {
		s.Pairs[pair] += count
	}
}

// Missing returns the pairs of a step under way and a fault that no order met. In a thousand
// runs with all faults each occurs several times, so a plan that has none left it out. A
// delivery alone is no such step: it takes a receipt that is given up.
func (s *Sum) Missing() (missing []Pair) {
	faults := append([]string{killServer, killClient, killWorker}, SimulatedFaults...)
	faults = slices.DeleteFunc(faults, func(name string) bool { return name == kill.String() })
	for _, activity := range []string{"", coffee.ActivityChargeCustomer, coffee.ActivityBrewCoffee, coffee.ActivitySendReceipt, coffee.ActivityRefundCustomer, coffee.ActivityRecallOrder} {
		step := activity + stepUnderWay
		if activity == "" {
			step = stepAccepted
		}
		for _, fault := range faults {
			if pair := (Pair{step, fault}); s.Pairs[pair] == 0 {
				missing = append(missing, pair)
			}
		}
	}
	return missing
}

// pair counts at which steps of an order there were faults.
func (w *world) pair(pairs map[Pair]int, events []*historypb.HistoryEvent) {
	if len(events) == 0 {
		return
	}
	steps := steps(events)
	for _, f := range w.injected {
		next, _ := slices.BinarySearchFunc(events, f.when, func(event *historypb.HistoryEvent, when time.Time) int {
			return event.GetEventTime().AsTime().Compare(when)
		})
		if next == 0 || next == len(events) {
			continue // it had not begun, or was over
		}
		pairs[Pair{steps[next-1], w.against(f.fault)}]++
	}
}

// against names a fault for the table of pairs.
func (w *world) against(f fault) string {
	switch {
	case f.kind == kill && f.victim == theServer:
		return killServer
	case f.kind == kill && f.victim == theClient:
		return killClient
	case f.kind == kill:
		return killWorker
	}
	return f.kind.String()
}

// steps names the step that an order is at after each event.
func steps(events []*historypb.HistoryEvent) (steps []string) {
	step, names := "", desk.Activities{}
	for _, event := range events {
		name := names.Of(event)
		switch event.GetEventType() {
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
			step = stepAccepted
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			step = name + stepUnderWay
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
			step = name + " done"
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED, enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
			step = name + " failed"
		}
		steps = append(steps, step)
	}
	return steps
}

// story tells of a run in which a judge has found something: the faults, and of each order
// that is named what its clients were told, and what the ledger has.
func (w *world) story(ctx context.Context, report *Report) (story []string, err error) {
	orders := map[string]bool{}
	for _, breach := range report.Audit.Breaches {
		orders[breach.OrderID] = true
		story = append(story, fmt.Sprintf("rule %d, order %s: %s", breach.Rule, breach.OrderID, breach.Problem))
		story = append(story, breach.Evidence...)
	}
	story = append(story, report.Incidents...)
	if len(story) == 0 {
		return nil, nil
	}
	all, err := w.reader.Read()
	if err != nil {
		return nil, err
	}
	for _, op := range all {
		if slices.Contains(strings.FieldsFunc(strings.Join(report.Incidents, " "), notInID), op.Order) {
			orders[op.Order] = true
		}
	}
	type moment struct {
		when int64
		what string
	}
	var moments []moment
	for _, f := range w.injected {
		moments = append(moments, moment{f.when.UnixNano(), w.against(f.fault)})
	}
	for _, op := range all {
		if orders[op.Order] {
			moments = append(moments, moment{op.Call, fmt.Sprintf("order %s: %s %s?", op.Order, op.Kind, op.Request)})
		}
		if orders[op.Order] && op.Return > 0 {
			moments = append(moments, moment{op.Return, fmt.Sprintf("order %s: %s: %s %s", op.Order, op.Kind, op.Outcome, op.Problem)})
		}
	}
	store, err := ledger.Open(ctx, w.ledger)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	for _, id := range slices.Sorted(maps.Keys(orders)) {
		entries, err := store.Entries(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			moments = append(moments, moment{entry.RecordedAt.UnixNano(), fmt.Sprintf("order %s: the ledger has a %s of %s", id, entry.Kind, entry.Amount)})
		}
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return cmp.Compare(a.when, b.when) })
	for _, m := range moments {
		story = append(story, fmt.Sprintf("%8.3f s  %s", time.Unix(0, m.when).Sub(w.began).Seconds(), m.what))
	}
	return story, nil
}

// notInID reports whether a character is in no id of an order of a run.
func notInID(r rune) bool { return r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }

// tell completes the result with what the histories tell.
func (w *world) tell(ctx context.Context, result *Simulated) error {
	conn, err := w.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	orders, hash := desk.NewClient(conn, w.namespace), sha256.New()
	for n := range w.Orders {
		id := planOrder(w.Seed, n).request.OrderID
		history, err := orders.History(ctx, id)
		if err != nil && !errors.Is(err, coffee.ErrNotFound) {
			return err
		}
		w.pair(result.Pairs, history.Events)
		for _, event := range history.Events {
			fmt.Fprintln(hash, id, event.GetEventType(), event.GetEventTime().AsTime().Sub(w.began))
		}
	}
	if result.Story, err = w.story(ctx, result.Report); err != nil {
		return err
	}
	result.Trace = fmt.Sprintf("%x", hash.Sum(nil)[:8])
	return nil
}
