package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"example.com/coffee/coffee"
)

func cancelCommand(out *output) *cli.Command {
	return &cli.Command{
		Name:      "cancel",
		Usage:     "cancel an order and wait for the outcome",
		ArgsUsage: "[ID]",
		Description: "Without an id it cancels the order that is running, if there is just one. " +
			"The exit code is 1 if it was too late.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "reason", Usage: "`TEXT` to go with the request"},
			outputFlag(),
		}, connectFlags()),
		ShellComplete: completeOrders(out, coffee.StatusRunning),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			id, err := optionalOrderID(cmd)
			if err != nil {
				return err
			}
			asJSON, err := wantsJSON(cmd)
			if err != nil {
				return err
			}
			conn, err := out.connect(ctx, cmd)
			if err != nil {
				return err
			}
			defer conn.Close()
			orders := coffee.NewClient(conn, conn.namespace)
			if id == "" {
				if id, err = theRunningOrder(ctx, cmd, out, orders); err != nil {
					return err
				}
			}
			return cancelOrder(ctx, out, orders, id, cmd.String("reason"), asJSON)
		},
	}
}

// optionalOrderID is the one argument, or empty.
func optionalOrderID(cmd *cli.Command) (string, error) {
	switch args := cmd.Args(); args.Len() {
	case 0:
		return "", nil
	case 1:
		return args.First(), coffee.ValidateOrderID(args.First())
	default:
		return "", usageErrorf(cmd, "%s takes one order id, not %d arguments", cmd.Name, args.Len())
	}
}

// theRunningOrder is the id of the only order that is running.
func theRunningOrder(ctx context.Context, cmd *cli.Command, out *output, orders *coffee.Client) (string, error) {
	running, err := orders.List(ctx, coffee.ListOptions{Status: coffee.StatusRunning})
	if err != nil {
		return "", err
	}
	switch len(running) {
	case 0:
		return "", errors.New("no order is running")
	case 1:
		id := running[0].OrderID
		out.notef("order %s is the only one that is running: cancelling it", coffee.Printable(id))
		return id, nil
	}
	var lines strings.Builder
	for _, view := range running {
		fmt.Fprintf(&lines, "\n  coffee cancel %s", coffee.Printable(view.OrderID))
	}
	more := ""
	if len(running) == coffee.DefaultListLimit {
		more = "at least "
	}
	return "", usageErrorf(cmd, "which order? %s%d are running:%s", more, len(running), lines.String())
}

func cancelOrder(ctx context.Context, out *output, orders *coffee.Client, id, reason string, asJSON bool) error {
	err := orders.Cancel(ctx, id, reason)
	if errors.Is(err, coffee.ErrNotFound) {
		return fmt.Errorf("%w: %s", err, id)
	}
	if err != nil && !errors.Is(err, coffee.ErrEnded) {
		return err
	}
	result, err := awaitCancelled(ctx, orders, id)
	if errors.Is(err, errNoWorker) {
		out.notef("the request to cancel order %s is recorded, but no worker is running: it takes effect as soon as one is", id)
		return nil
	}
	if ctx.Err() != nil {
		return &exitError{
			code:    exitInterrupted,
			message: "interrupted: the request to cancel order " + id + " stands",
			hint:    "look at it with: coffee status " + id,
		}
	}
	if err != nil {
		return err
	}
	if asJSON {
		if err := out.json(result); err != nil {
			return err
		}
	} else if result.Status == coffee.StatusCancelled {
		out.printf("%s\n", cancelledInWords(result))
	}
	switch result.Status {
	case coffee.StatusCancelled:
		return nil
	case coffee.StatusFailed:
		return &exitError{code: exitFailure, message: "too late: order " + id + " had failed" + refundInWords(result)}
	}
	return &exitError{code: exitFailure, message: fmt.Sprintf("too late: order %s was completed, for %s", id, result.AmountCents)}
}

var errNoWorker = errors.New("no worker")

// awaitCancelled waits for the result. It returns errNoWorker when there is no
// worker to take notice of the request.
func awaitCancelled(ctx context.Context, orders *coffee.Client, id string) (coffee.OrderResult, error) {
	waitCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		if waitForNoWorker(waitCtx, orders, id) {
			cancel(errNoWorker)
		}
	}()
	result, err := orders.Result(waitCtx, id)
	if err != nil && errors.Is(context.Cause(waitCtx), errNoWorker) {
		return coffee.OrderResult{}, errNoWorker
	}
	return result, err
}
