package commands

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/sleep"
)

func skipCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "skip",
		Usage:     "let the backoffs of a running order pass at once",
		ArgsUsage: "ID",
		Description: "The order's clock moves ahead whenever it only waits for a time to come. A charge, a brew and a receipt take the time they take. " +
			"The server must allow it: coffee server --time-skipping.",
		Flags: slices.Concat([]cli.Flag{
			&cli.DurationFlag{Name: "by", Usage: "until this `DURATION` has passed on the order's clock", DefaultText: "to the end of the order"},
		}, connectFlags()),
		Action: func(c *cli.Context) error {
			id, err := optionalOrderID(c)
			if err != nil {
				return err
			}
			if id == "" {
				return usageErrorf(c, "which order? for example: coffee skip ID (coffee status lists them)")
			}
			by := c.Duration("by")
			if c.IsSet("by") && by <= 0 {
				return usageErrorf(c, "--by is %v: use more than 0", by)
			}
			server, err := parseConnect(c)
			if err != nil {
				return err
			}
			return a.withOrders(c.Context, server, func(orders *desk.Client) error {
				err := orders.SkipTime(c.Context, id, by)
				if errors.Is(err, coffee.ErrEnded) {
					return errors.New("order " + id + " has ended")
				}
				return err
			})
		},
	}
}

// skipTimeFlag is the flag --skip-time of the commands that place orders.
func skipTimeFlag() cli.Flag {
	return &cli.BoolFlag{Name: "skip-time", Usage: "let backoffs pass at once, on a server that allows it (coffee server --time-skipping)"}
}

// withSkipTime returns the options of a client that skips the time of the orders that
// it places, if skip is true.
func withSkipTime(options connectOptions, skip bool) connectOptions {
	if skip {
		options.ConnectionOptions.DialOptions = slices.Concat([]grpc.DialOption{devserver.SkipTime()}, options.ConnectionOptions.DialOptions)
	}
	return options
}

// noteIfTimeRuns says on stderr when the server no longer skips the order's time, until
// stop is called.
func noteIfTimeRuns(ctx context.Context, out *output, orders *desk.Client, id string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for sleep.For(ctx, time.Second) {
			skips, err := orders.SkipsTime(ctx, id)
			if err != nil {
				continue // it is only a note
			}
			if !skips {
				out.notef("the server has skipped time as often as it allows: from now on order %s takes the time it takes", id)
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
