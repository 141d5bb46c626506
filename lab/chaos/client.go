//go:build unix

package chaos

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"golang.org/x/sync/errgroup"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/sleep"
	"example.com/coffee/internal/text"
	"example.com/coffee/lab/chaos/operations"
	"example.com/coffee/lab/powerfailure"
)

// journalName is the name of the file that all operations are written down in.
const journalName = "operations.jsonl"

// RunClient runs the client of a run, in a process of its own that can be killed at
// any time. It places the orders of the seed that have not ended yet, and returns
// when all have ended. Its journal is in dir.
func RunClient(ctx context.Context, conn client.Client, namespace, dir string, seed uint64, orders int) error {
	return runClient(ctx, conn, namespace, dir, seed, orders, powerfailure.Now)
}

func runClient(ctx context.Context, conn client.Client, namespace, dir string, seed uint64, orders int, now func() int64) (err error) {
	path := filepath.Join(dir, journalName)
	journal, err := operations.OpenJournal(path, now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	known, err := operations.NewReader(path).Read()
	if err != nil {
		return err
	}
	c := &customer{conn: conn, orders: desk.NewClient(conn, namespace), journal: journal}
	return c.run(ctx, seed, orders, tally(known))
}

// customer places orders, whatever happens to the server or to itself. What it is told
// is judged later, from the journal.
type customer struct {
	conn    client.Client
	orders  *desk.Client
	journal *operations.Journal
}

// run places all orders that have not ended yet, and returns when all have ended.
func (c *customer) run(ctx context.Context, seed uint64, orders int, known progress) error {
	group, ctx := errgroup.WithContext(ctx)
	for n := range orders {
		order := planOrder(seed, n)
		id := order.request.OrderID
		if known.ended[id] {
			continue
		}
		if !known.sent[id] && !sleep.For(ctx, pace) {
			break
		}
		group.Go(func() error { return c.serve(ctx, order) })
	}
	return group.Wait()
}

// serve takes one order to its end, from the start or from where a killed client left
// it. It returns an error if it cannot write the journal, or the context's.
func (c *customer) serve(ctx context.Context, order plannedOrder) error {
	id := order.request.OrderID
	group, ctx := errgroup.WithContext(ctx)
	look := func() error {
		_, err := c.ask(ctx, operations.Operation{Order: id, Kind: operations.Status}, c.look(id))
		return err
	}
	for _, after := range order.looks {
		group.Go(func() error {
			if !sleep.For(ctx, after) {
				return ctx.Err()
			}
			return look()
		})
	}
	place := operations.Operation{Order: id, Kind: operations.Place, Request: order.text()}
	if order.twice {
		group.Go(func() error { return c.insist(ctx, place, c.place(order.request)) })
	}
	group.Go(func() error {
		if err := c.insist(ctx, place, c.placed(order)); err != nil {
			return err
		}
		if order.another != "" {
			request := order.request
			request.Drink = order.another
			if err := c.insist(ctx, operations.Operation{Order: id, Kind: operations.Place, Request: request.String()}, c.place(request)); err != nil {
				return err
			}
		}
		if order.cancelAfter >= 0 {
			if !sleep.For(ctx, order.cancelAfter) {
				return ctx.Err()
			}
			cancel := func(ctx context.Context) (string, error) { return operations.OK, c.orders.Cancel(ctx, id, "") }
			if err := c.insist(ctx, operations.Operation{Order: id, Kind: operations.Cancel}, cancel); err != nil {
				return err
			}
		}
		if err := c.insist(ctx, operations.Operation{Order: id, Kind: operations.Result}, c.result(id)); err != nil {
			return err
		}
		return look()
	})
	return group.Wait()
}

// request asks something of an order, and returns the outcome.
type request func(ctx context.Context) (outcome string, err error)

func (c *customer) placed(order plannedOrder) request {
	if order.input == nil {
		return c.place(order.request)
	}
	return func(ctx context.Context) (string, error) {
		return operations.OK, c.placeInvalid(ctx, order.request.OrderID, order.input)
	}
}

func (c *customer) place(request coffee.OrderRequest) request {
	return func(ctx context.Context) (string, error) {
		placed, err := c.orders.Place(ctx, request)
		if err == nil && placed.Order != request {
			return operations.Wrong, nil
		}
		return operations.OK, err
	}
}

// placeInvalid sends input that our own client would refuse.
func (c *customer) placeInvalid(ctx context.Context, id string, input any) error {
	_, err := c.conn.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                    coffee.WorkflowID(id),
		TaskQueue:             coffee.TaskQueue,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
	}, coffee.WorkflowType, input)
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) { // by the same client, before it was killed
		return nil
	}
	return err
}

func (c *customer) look(id string) request {
	return func(ctx context.Context) (string, error) {
		view, err := c.orders.Describe(ctx, id)
		return string(view.Status), err
	}
}

func (c *customer) result(id string) request {
	return func(ctx context.Context) (string, error) {
		result, err := c.orders.Result(ctx, id)
		return string(result.Status), err
	}
}

// insist asks again until it gets an answer.
func (c *customer) insist(ctx context.Context, op operations.Operation, do request) error {
	for {
		outcome, err := c.ask(ctx, op, do)
		if outcome != operations.Unknown || err != nil {
			return err
		}
		if !sleep.For(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// ask asks once, and writes down what it was told. The outcome is unknown if there was
// no answer, or none that says what happened.
func (c *customer) ask(ctx context.Context, op operations.Operation, do request) (outcome string, err error) {
	op, err = c.journal.Begin(op)
	if err != nil {
		return operations.Unknown, err
	}
	outcome, answer := do(ctx)
	if ctx.Err() != nil { // this process was asked to stop, and that is all
		return operations.Unknown, ctx.Err()
	}
	problem := ""
	if answer != nil {
		outcome, problem = outcomeOf(answer), text.Printable(answer.Error())
	}
	if outcome == operations.Unknown {
		return outcome, nil
	}
	return outcome, c.journal.End(op, outcome, problem)
}

// outcomeOf returns what an error says about an operation.
func outcomeOf(err error) string {
	var conflict *coffee.ConflictError
	var ended *coffee.EndedError
	var terminated *temporal.TerminatedError
	var cancelled *temporal.CanceledError // as Temporal's own request has it
	var invalid *serviceerror.InvalidArgument
	switch {
	case errors.As(err, &conflict):
		return operations.Conflict
	case errors.As(err, &ended) && errors.As(err, &terminated):
		return operations.Terminated
	case errors.As(err, &ended) && errors.As(err, &cancelled):
		return operations.Cancelled
	case errors.As(err, &ended):
		return operations.Ended
	case errors.As(err, &invalid):
		return operations.Wrong
	case errors.Is(err, coffee.ErrEnded):
		return operations.Over
	case errors.Is(err, coffee.ErrNotFound):
		return operations.NotFound
	}
	return operations.Unknown // the server is away
}

// progress is how far orders are, by id, according to a journal.
type progress struct{ sent, acknowledged, ended map[string]bool }

func tally(all []operations.Operation) progress {
	p := progress{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for _, op := range all {
		switch {
		case op.Kind == operations.Place:
			p.sent[op.Order] = true
			if op.Outcome == operations.OK {
				p.acknowledged[op.Order] = true
			}
		case op.Kind == operations.Result && op.Outcome != operations.Unknown:
			p.ended[op.Order] = true
		}
	}
	return p
}
