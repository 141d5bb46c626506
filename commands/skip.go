package commands

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
)

func skipCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:      "skip",
		Usage:     "let the backoffs of a running order pass at once",
		ArgsUsage: "ID",
		Description: "The order's clock moves ahead whenever it only waits for a time to come. A charge, a brew and a receipt take the time they take. " +
			"The server must allow it: coffee server --time-skipping.",
		Flags: slices.Concat([]cli.Flag{
			&cli.DurationFlag{Name: "by", Usage: "until this `DURATION` has passed on the order's clock", DefaultText: "to the end of the order"},
		}, connect.Flags()),
		Action: run(a, parseSkip, runSkip),
	}
}

type skipPlan struct {
	server connect.Options
	id     string
	by     time.Duration // 0 means to the end
}

func parseSkip(c *cli.Context) (plan skipPlan, err error) {
	if plan.id, err = commandline.OrderID(c, "which order? for example: coffee skip ID (coffee status lists them)"); err != nil {
		return plan, err
	}
	if plan.by = c.Duration("by"); c.IsSet("by") && plan.by <= 0 {
		return plan, commandline.Errorf(c, "--by is %v: use more than 0", plan.by)
	}
	plan.server, err = connect.Parse(c)
	return plan, err
}

func runSkip(ctx context.Context, a *app.App, plan skipPlan) error {
	return connect.WithOrders(ctx, a, plan.server, func(orders *desk.Client) error {
		err := orders.SkipTime(ctx, plan.id, plan.by)
		if errors.Is(err, coffee.ErrEnded) {
			return errors.New("order " + plan.id + " has ended")
		}
		return err
	})
}
