package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/commands/internal/waiting"
	"example.com/coffee/internal/exit"
)

func cancelCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:        "cancel",
		Usage:       "cancel an order and wait for the outcome",
		ArgsUsage:   "ID",
		Description: "The exit code is 1 if it was too late.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "reason", Usage: "record this `TEXT` with the request"},
			commandline.OutputFlag(),
		}, connect.Flags()),
		Action: run(a, parseCancel, runCancel),
	}
}

type cancelPlan struct {
	server connect.Options
	id     string
	reason string
	asJSON bool
}

func parseCancel(c *cli.Context) (plan cancelPlan, err error) {
	plan = cancelPlan{reason: c.String("reason"), asJSON: commandline.WantsJSON(c)}
	if plan.id, err = commandline.OrderID(c, "which order? coffee cancel ID; those that can be cancelled: coffee status --status running"); err != nil {
		return plan, err
	}
	plan.server, err = connect.Parse(c)
	return plan, err
}

func runCancel(ctx context.Context, a *app.App, plan cancelPlan) error {
	return connect.WithOrders(ctx, a, plan.server, func(orders *desk.Client) error { return cancelOrder(ctx, a.Out, orders, plan) })
}

func cancelOrder(ctx context.Context, out *terminal.Output, orders *desk.Client, plan cancelPlan) error {
	err := orders.Cancel(ctx, plan.id, plan.reason)
	if err != nil && !errors.Is(err, coffee.ErrEnded) {
		return err
	}
	result, err := awaitCancelled(ctx, orders, plan.id)
	id := terminal.ShortID(plan.id)
	var unmanned *unmannedError
	switch {
	case errors.As(err, &unmanned):
		out.Notef("the request to cancel order %s is recorded, and takes effect once a worker takes it: %s", id, unmanned)
		return nil
	case ctx.Err() != nil:
		return &exit.Error{Code: exit.Interrupted, Err: errors.New("interrupted: the request to cancel order " + id + " stands"), Hint: "look at it with: coffee status " + id}
	case coffee.IsUnreadable(err):
		return fmt.Errorf("order %s is over (%s), but its result cannot be read here: %w", id, cmp.Or(strings.ToLower(string(result.Status)), "nobody knows how"), err)
	case err != nil:
		return err
	}
	if plan.asJSON {
		if err := out.Json(result); err != nil {
			return err
		}
	} else if result.Status == coffee.StatusCancelled {
		out.Printf("%s\n", terminal.CancelledInWords(result))
	}
	switch result.Status {
	case coffee.StatusCancelled:
		return nil
	case coffee.StatusFailed:
		return &exit.Error{Code: exit.Failure, Err: errors.New("too late: order " + id + " had failed" + terminal.RefundInWords(result))}
	}
	return exit.Errorf(exit.Failure, "too late: order %s was completed, for %s", id, result.AmountCents)
}

// unmannedError means that nobody is there to take an order.
type unmannedError struct{ desk.Waiting }

func (e *unmannedError) Error() string { return e.String() }

// awaitCancelled waits for the result. It returns an [*unmannedError] if nobody is there
// to handle the request.
func awaitCancelled(ctx context.Context, orders *desk.Client, id string) (coffee.OrderResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		if waits := waiting.WaitUntilUnmanned(ctx, orders, id); waits.Unmanned() {
			cancel(&unmannedError{waits})
		}
	}()
	result, err := orders.Result(ctx, id)
	var unmanned *unmannedError
	if err != nil && errors.As(context.Cause(ctx), &unmanned) {
		return coffee.OrderResult{}, unmanned
	}
	return result, err
}
