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
		Action: func(c *cli.Context) error {
			if err := commandline.NoArguments(c); err != nil {
				return err
			}
			if c.Bool("list") {
				for i, chapter := range tour.Chapters {
					a.Out.Printf("%2d  %-8s  %s\n", i+1, chapter.Name, chapter.Title)
				}
				return nil
			}
			first, err := parseChapter(c)
			if err != nil {
				return err
			}
			if devserver.ServerVersion == "" {
				return devserver.ErrNoServer
			}
			options := tourOptions(a)
			options.In, options.Out, options.Auto, options.First, options.Only = os.Stdin, a.Out.Out, c.Bool("auto"), first, c.Bool("only")
			err = tour.Run(c.Context, options)
			if c.Context.Err() != nil { // whatever it interrupted
				return c.Context.Err()
			}
			return err
		},
	}
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
			return runWorker(ctx, worker, at(address), local.Worker{WorkerOptions: coffee.WorkerOptions{Services: services, Concurrency: coffee.DefaultConcurrency},
				Ledger: ledgers.Choice{Where: ledger, Named: true}})
		},
		Replay: func(ctx context.Context, next release.Release, address string, stdout, stderr io.Writer) int {
			replayer := app.New(stdout, stderr, app.Options{Release: next})
			return replayer.Out.Fail(ctx, runReplay(ctx, replayer, replayPlan{server: at(address), replay: replayer.Replay()}))
		},
	}
}

// parseChapter returns the number of the chapter to begin with.
func parseChapter(c *cli.Context) (int, error) {
	text := c.String("chapter")
	if !c.IsSet("chapter") {
		return 1, nil
	}
	if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= len(tour.Chapters) {
		return n, nil
	}
	i := slices.IndexFunc(tour.Chapters, func(chapter tour.Chapter) bool { return strings.EqualFold(chapter.Name, text) })
	if i < 0 {
		return 0, commandline.Errorf(c, "there is no chapter %q; coffee tour --list lists them", text)
	}
	return i + 1, nil
}
