package commands

import (
	"errors"
	"slices"

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
		Action: func(c *cli.Context) error {
			id, err := commandline.OptionalOrderID(c)
			if err != nil {
				return err
			}
			if id == "" {
				return commandline.Errorf(c, "which order? for example: coffee skip ID (coffee status lists them)")
			}
			by := c.Duration("by")
			if c.IsSet("by") && by <= 0 {
				return commandline.Errorf(c, "--by is %v: use more than 0", by)
			}
			server, err := connect.Parse(c)
			if err != nil {
				return err
			}
			return connect.WithOrders(c.Context, a, server, func(orders *desk.Client) error {
				err := orders.SkipTime(c.Context, id, by)
				if errors.Is(err, coffee.ErrEnded) {
					return errors.New("order " + id + " has ended")
				}
				return err
			})
		},
	}
}
