package commands

import (
	"context"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/ledgers"
	"example.com/coffee/commands/internal/local"
	"example.com/coffee/commands/internal/tour"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/release"
)

func tourCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:  "tour",
		Usage: "learn Temporal in a quarter of an hour, by seeing it happen",
		Description: "Leads through ten chapters in this terminal. It starts servers and workers of its own on free ports, runs the commands that it shows, " +
			"kills some of them, and leaves nothing behind.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "chapter", Usage: "begin with chapter `N`, a number or a name"},
			&cli.BoolFlag{Name: "only", Usage: "end after that chapter"},
			&cli.BoolFlag{Name: "list", Usage: "list the chapters"},
			&cli.BoolFlag{Name: "auto", Usage: "go on without waiting for Enter"},
		},
		Action: run(a, parseTour, runTour),
	}
}

type tourPlan struct {
	list       bool
	first      int // chapter
	only, auto bool
}

func parseTour(c *cli.Context) (plan tourPlan, err error) {
	plan = tourPlan{list: c.Bool("list"), first: 1, only: c.Bool("only"), auto: c.Bool("auto")}
	name := c.String("chapter")
	if name == "" {
		return plan, nil
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 1 && n <= len(tour.Chapters) {
		plan.first = n
		return plan, nil
	}
	i := slices.IndexFunc(tour.Chapters, func(chapter tour.Chapter) bool { return strings.EqualFold(chapter.Name, name) })
	if i < 0 {
		return plan, commandline.Errorf(c, "there is no chapter %q; coffee tour --list lists them", name)
	}
	plan.first = i + 1
	return plan, nil
}

func runTour(ctx context.Context, a *app.App, plan tourPlan) error {
	if plan.list {
		for i, chapter := range tour.Chapters {
			a.Out.Printf("%2d  %-8s  %s\n", i+1, chapter.Name, chapter.Title)
		}
		return nil
	}
	if devserver.ServerVersion == "" {
		return devserver.ErrNoServer
	}
	options := tourOptions(a)
	options.In, options.Out, options.Auto, options.First, options.Only = os.Stdin, a.Out.Out, plan.auto, plan.first, plan.only
	err := tour.Run(ctx, options)
	if ctx.Err() != nil { // whatever it interrupted
		return ctx.Err()
	}
	return err
}

// tourOptions returns the options of a tour that say how to do what this program does.
func tourOptions(a *app.App) tour.Options {
	at := func(address string) connect.Options {
		return connect.Options{Options: client.Options{HostPort: address, Namespace: client.DefaultNamespace}}
	}
	return tour.Options{
		Connect: func(ctx context.Context, address string) (client.Client, error) {
			return connect.Open(ctx, a, at(address))
		},
		Work: func(ctx context.Context, next release.Release, address, ledger string, w io.Writer) error {
			worker := app.New(w, w, app.Options{Release: next})
			if err := worker.ConfigureLogs("", "text"); err != nil {
				return err
			}
			services := coffee.DefaultServiceConfig()
			services.BrewFailureRate = 0
			return runWorker(ctx, worker, workerPlan{server: at(address), worker: local.Worker{
				WorkerOptions: coffee.WorkerOptions{Services: services, Concurrency: coffee.DefaultConcurrency},
				Ledger:        ledgers.Choice{Where: ledger, Named: true},
			}})
		},
		Replay: func(ctx context.Context, next release.Release, address string, stdout, stderr io.Writer) int {
			replayer := app.New(stdout, stderr, app.Options{Release: next})
			return replayer.Out.Fail(ctx, runReplay(ctx, replayer, replayPlan{server: at(address)}))
		},
	}
}
