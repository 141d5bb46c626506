//go:build unix

package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
)

// RunClient runs the client of a run, in a process of its own that can be killed at
// any time. It places the orders of the seed that have not ended yet, and returns
// when all have ended. Its journal is in dir.
func RunClient(ctx context.Context, conn client.Client, namespace, dir string, seed uint64, orders int) error {
	journal, err := openJournal(dir)
	if err != nil {
		return err
	}
	c := &customer{conn: conn, orders: coffee.NewClient(conn, namespace), journal: journal}
	return errors.Join(c.run(ctx, seed, orders), journal.close())
}

// customer places orders, whatever happens to the server or to itself.
type customer struct {
	conn    client.Client
	orders  *coffee.Client
	journal *journal
}

// run places all orders that have not ended yet, and returns when all have ended.
func (c *customer) run(ctx context.Context, seed uint64, orders int) error {
	var wg sync.WaitGroup
	var once sync.Once
	var failure error
	for n := range orders {
		order := planOrder(seed, n)
		id := order.request.OrderID
		if c.journal.has(journalEnded, id) {
			continue
		}
		if !c.journal.has(journalSent, id) && !sleep(ctx, pace) {
			break
		}
		wg.Go(func() {
			if err := c.serve(ctx, order); err != nil {
				once.Do(func() { failure = err })
			}
		})
	}
	wg.Wait()
	return failure
}

// serve takes one order to its end, from the start or from where a killed client
// left it. Its errors end the client; what a client must never see is a breach.
func (c *customer) serve(ctx context.Context, order plannedOrder) error {
	id := order.request.OrderID
	if err := c.journal.write(journalSent, id); err != nil {
		return err
	}
	place := func() error { return c.place(ctx, order.request) }
	if order.input != nil {
		place = func() error { return c.placeInvalid(ctx, id, order.input) }
	}
	if err := c.insist(ctx, place); err != nil {
		return c.breach(ctx, id, "cannot be placed: %v", err)
	}
	if err := c.journal.write(journalAcknowledged, id); err != nil {
		return err
	}
	acknowledged := time.Now()
	if order.twice {
		if err := c.insist(ctx, place); err != nil {
			return c.breach(ctx, id, "cannot be placed twice: %v", err)
		}
	}
	if order.another != "" {
		request := order.request
		request.Drink = order.another
		var conflict *coffee.ConflictError
		if err := c.insist(ctx, func() error { return c.place(ctx, request) }); !errors.As(err, &conflict) {
			return c.breach(ctx, id, "another order of the same id was not refused: %v", err)
		}
	}
	cancelled := order.cancelAfter >= 0
	if cancelled {
		if !sleep(ctx, time.Until(acknowledged.Add(order.cancelAfter))) {
			return ctx.Err()
		}
		err := c.insist(ctx, func() error { return c.orders.Cancel(ctx, id, "") })
		if err != nil && !errors.Is(err, coffee.ErrEnded) { // which means too late
			return c.breach(ctx, id, "cannot be cancelled: %v", err)
		}
		if err == nil {
			if err := c.journal.write(journalCancelled, id); err != nil {
				return err
			}
		}
	}
	var result coffee.OrderResult
	err := c.insist(ctx, func() (err error) {
		result, err = c.orders.Result(ctx, id)
		return err
	})
	var ended *coffee.EndedError
	switch {
	case order.input != nil && errors.As(err, &ended):
	case order.input != nil:
		return c.breach(ctx, id, "was invalid, but ended %s, %v", result.Status, err)
	case err != nil:
		return c.breach(ctx, id, "has no result: %v", err)
	case result.Status == coffee.StatusCancelled && !cancelled:
		return c.breach(ctx, id, "was cancelled without a request")
	}
	return c.journal.write(journalEnded, id)
}

// place places an order.
func (c *customer) place(ctx context.Context, request coffee.OrderRequest) error {
	placed, err := c.orders.Place(ctx, request)
	if err == nil && placed.Order != request {
		return &wrongAnswer{fmt.Sprintf("got %v instead of %v", placed.Order, request)}
	}
	return err
}

// wrongAnswer is an answer that retrying cannot fix.
type wrongAnswer struct{ string }

func (e *wrongAnswer) Error() string { return e.string }

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

// insist retries until it gets an answer that counts. Any other error means that
// the server is away.
func (c *customer) insist(ctx context.Context, do func() error) error {
	for {
		err := do()
		var conflict *coffee.ConflictError
		var ended *coffee.EndedError
		var invalid *serviceerror.InvalidArgument
		var wrong *wrongAnswer
		if err == nil || errors.As(err, &wrong) || errors.As(err, &conflict) || errors.As(err, &ended) || errors.As(err, &invalid) ||
			errors.Is(err, coffee.ErrEnded) || errors.Is(err, coffee.ErrNotFound) {
			return err
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// breach records what should not have happened, and that the order has ended.
func (c *customer) breach(ctx context.Context, id, format string, args ...any) error {
	if ctx.Err() != nil { // this process was asked to stop, and that is all
		return ctx.Err()
	}
	if err := c.journal.write(journalBreaches, "order "+id+" "+coffee.Printable(fmt.Sprintf(format, args...))); err != nil {
		return err
	}
	return c.journal.write(journalEnded, id)
}

// sleep returns false if the context ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
