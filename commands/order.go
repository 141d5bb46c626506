package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"go.temporal.io/api/serviceerror"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/local"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/commands/internal/waiting"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/sleep"
	"example.com/coffee/internal/text"
)

func orderCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:  "order",
		Usage: "place an order and wait for its result",
		Description: "The exit code is 0 if the order was completed, 3 if it failed, 4 if it was cancelled, " +
			"and 5 if its id belongs to a different order.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "drink", Aliases: []string{"d"}, Usage: "`NAME` of the drink; see coffee menu"},
			&cli.StringFlag{Name: "size", Aliases: []string{"s"}, Usage: "`SIZE` of the drink: S, M or L", Value: string(coffee.SizeM)},
			&cli.StringFlag{Name: "order-id", Usage: "`ID` of the order; the same id again joins that order", DefaultText: "a new one"},
			&cli.BoolFlag{Name: "query", Usage: "query the order once it has started, and print its state"},
			&cli.StringFlag{Name: "cancel-after", Usage: "cancel the order after `TIME`: seconds (1.0) or a duration (1500ms)"},
			&cli.BoolFlag{Name: "no-wait", Usage: "do not wait for the result"},
			connect.SkipTimeFlag(),
			local.DevFlag("run a server in memory and a worker in this process; nothing else is needed, and nothing is kept"),
		}, local.WorkerFlags("WORKER (with --dev)"), connect.Flags()),
		Action: run(a, parseOrder, runOrder),
	}
}

type orderPlan struct {
	request coffee.OrderRequest
	query   bool
	noWait  bool
	// cancelAfter is negative if the order is not to be cancelled.
	cancelAfter time.Duration
	// server is where the order goes, unless dev is set: then it goes to a server
	// of its own.
	server connect.Options
	dev    *local.Worker
}

func parseOrder(c *cli.Context) (plan orderPlan, err error) {
	plan = orderPlan{
		request: coffee.OrderRequest{
			OrderID: c.String("order-id"),
			Drink:   coffee.Drink(c.String("drink")),
			Size:    coffee.Size(c.String("size")),
		},
		query:       c.Bool("query"),
		noWait:      c.Bool("no-wait"),
		cancelAfter: -1,
	}
	if !c.IsSet("drink") {
		return plan, commandline.Errorf(c, "which drink? for example: coffee order --drink latte (coffee menu shows them all)")
	}
	if !c.IsSet("order-id") {
		plan.request.OrderID = coffee.NewOrderID()
	}
	if c.IsSet("cancel-after") {
		if plan.cancelAfter, err = commandline.ParseTime(c.String("cancel-after")); err != nil {
			return plan, commandline.Errorf(c, "--cancel-after is %q: use seconds (1.0) or a duration (1500ms)", c.String("cancel-after"))
		}
	}
	switch {
	case plan.noWait && c.Bool("dev"):
		return plan, commandline.Errorf(c, "--dev ends with the order: --no-wait makes no sense with it")
	case plan.noWait && (plan.query || plan.cancelAfter >= 0):
		return plan, commandline.Errorf(c, "--no-wait excludes --query and --cancel-after")
	}
	if plan.server, plan.dev, err = local.ParseWhere(c); err != nil {
		return plan, err
	}
	plan.request, err = plan.request.Normalize()
	return plan, err
}

func runOrder(ctx context.Context, a *app.App, plan orderPlan) error {
	place := func(orders *desk.Client) error { return (&ordering{a.Out, orders, plan}).run(ctx) }
	if plan.dev == nil {
		return connect.WithOrders(ctx, a, plan.server, place)
	}
	d, err := local.StartDev(ctx, a, *plan.dev, plan.server.SkipTime)
	if err != nil {
		return err
	}
	return errors.Join(place(d.Conn.Orders()), d.Tasks.Stop())
}

// ordering is one order on its way through this command.
type ordering struct {
	out    *terminal.Output
	orders *desk.Client
	plan   orderPlan
}

func (o *ordering) run(ctx context.Context) error {
	id := o.plan.request.OrderID
	placed, err := o.orders.Place(ctx, o.plan.request)
	if err != nil {
		return o.notPlaced(ctx, err)
	}
	if placed.Joined {
		o.out.Notef("order %s already exists: joining it", id)
	}
	if o.plan.noWait {
		return o.out.Json(struct {
			OrderID    string `json:"order_id"`
			WorkflowID string `json:"workflow_id"`
			RunID      string `json:"run_id"`
		}{id, coffee.WorkflowID(id), placed.RunID})
	}
	result, err := o.follow(ctx)
	switch {
	case ctx.Err() != nil:
		return o.interrupted()
	case coffee.IsUnreadable(err):
		return o.unreadable(result, err)
	case err != nil:
		return err
	}
	if err := o.out.Json(result); err != nil {
		return err
	}
	return o.outcome(result)
}

// notPlaced explains why the order was not placed, or that this is uncertain: the
// server may have recorded the order although its answer was lost.
func (o *ordering) notPlaced(ctx context.Context, err error) error {
	var invalid *coffee.InvalidOrderError
	var conflict *coffee.ConflictError
	if errors.As(err, &invalid) || errors.As(err, &conflict) || coffee.IsUnreadable(err) || o.plan.dev != nil {
		return err
	}
	code := exit.Failure
	var late *serviceerror.DeadlineExceeded
	switch {
	case ctx.Err() != nil:
		code, err = exit.Interrupted, errors.New("interrupted")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &late):
		err = errors.New("the server did not answer in time (its log may say why, such as a full disk)")
	}
	return &exit.Error{
		Code: code,
		Err:  fmt.Errorf("%v: order %s may or may not have been placed", err, o.plan.request.OrderID),
		Hint: "to make sure, place it again with --order-id " + o.plan.request.OrderID,
	}
}

// follow queries and cancels the order as requested, and waits for its result.
func (o *ordering) follow(ctx context.Context) (coffee.OrderResult, error) {
	id := o.plan.request.OrderID
	defer waiting.HintIfStuck(ctx, o.out, o.orders, id)()
	if o.plan.server.SkipTime {
		defer waiting.NoteIfTimeRuns(ctx, o.out, o.orders, id)()
	}
	if o.plan.query {
		state, err := o.firstState(ctx)
		if err != nil {
			return coffee.OrderResult{}, err
		}
		if err := o.out.Json(state); err != nil {
			return coffee.OrderResult{}, err
		}
	}
	if o.plan.cancelAfter >= 0 {
		if !sleep.For(ctx, o.plan.cancelAfter) {
			return coffee.OrderResult{}, ctx.Err()
		}
		if err := o.orders.Cancel(ctx, id, ""); err != nil && !errors.Is(err, coffee.ErrEnded) {
			return coffee.OrderResult{}, err
		}
	}
	return o.orders.Result(ctx, id)
}

// firstState queries the state of the order. It retries until a worker is there
// to answer.
func (o *ordering) firstState(ctx context.Context) (coffee.OrderState, error) {
	for {
		state, err := o.orders.State(ctx, o.plan.request.OrderID)
		if err == nil || !coffee.IsNoWorker(err) || !sleep.For(ctx, 100*time.Millisecond) {
			return state, err
		}
	}
}

// interrupted says what becomes of the order after an interrupt.
func (o *ordering) interrupted() error {
	id := o.plan.request.OrderID
	if o.plan.dev != nil {
		return &exit.Error{Code: exit.Interrupted, Err: errors.New("interrupted: order " + id + " is gone with its server")}
	}
	return &exit.Error{Code: exit.Interrupted, Err: errors.New("interrupted: order " + id + " continues"), Hint: "look at it with: coffee status " + id}
}

// unreadable says that the result cannot be read here, which is no failure of the order, and
// how it ended, as far as the server knows.
func (o *ordering) unreadable(result coffee.OrderResult, err error) error {
	code, known := map[coffee.OrderStatus]int{
		coffee.StatusCompleted: exit.OK, coffee.StatusFailed: exit.Failed, coffee.StatusCancelled: exit.Cancelled,
	}[result.Status]
	id := o.plan.request.OrderID
	if !known {
		return fmt.Errorf("order %s is placed, but its answer cannot be read here: %w", id, err)
	}
	_, hint := terminal.Explain(err)
	e := &exit.Error{Code: code, Err: fmt.Errorf("order %s is %s, but its result cannot be read here: %v", id, strings.ToLower(string(result.Status)), err), Hint: hint}
	if code == exit.OK {
		o.out.Notef("%s; %s", e, hint)
		return nil
	}
	return e
}

// outcome returns the error that sets the exit code, and says why an order did
// not complete as it should have.
func (o *ordering) outcome(result coffee.OrderResult) error {
	switch {
	case result.Status == coffee.StatusCancelled:
		return &exit.Error{Code: exit.Cancelled, Err: errors.New(terminal.CancelledInWords(result))}
	case result.Status == coffee.StatusFailed || !result.ReceiptSent:
		reason := ""
		if result.Failure != "" {
			reason = ": " + text.Printable(result.Failure)
		}
		if result.Status == coffee.StatusFailed {
			return &exit.Error{Code: exit.Failed, Err: errors.New("order " + result.OrderID + " failed" + reason + terminal.RefundInWords(result))}
		}
		o.out.Notef("the coffee is ready, but the receipt could not be sent%s", reason)
	case o.plan.cancelAfter >= 0:
		o.out.Notef("too late to cancel: the coffee was made")
	}
	return nil
}
