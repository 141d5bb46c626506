package commands

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"example.com/coffee/coffee"
	"example.com/coffee/commands/internal/tour"
	"example.com/coffee/devserver"
)

func tourCommand(a *app) *cli.Command {
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
		Subcommands: []*cli.Command{tourWorkerCommand(a), tourReplayCommand(a)},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			if c.Bool("list") {
				for i, chapter := range tour.Chapters {
					a.out.printf("%2d  %-8s  %s\n", i+1, chapter.Name, chapter.Title)
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
			err = tour.Run(c.Context, tour.Options{
				In: os.Stdin, Out: a.out.out, Auto: c.Bool("auto"), First: first, Only: c.Bool("only"),
				Connect: func(ctx context.Context, address string) (client.Client, error) {
					return a.connect(ctx, client.Options{HostPort: address, Namespace: client.DefaultNamespace})
				},
			})
			if c.Context.Err() != nil { // whatever it interrupted
				return c.Context.Err()
			}
			return err
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
		return 0, usageErrorf(c, "there is no chapter %q; coffee tour --list lists them", text)
	}
	return i + 1, nil
}

// releaseFlag says which release of the workflow to use.
func releaseFlag() cli.Flag { return &cli.StringFlag{Name: "release"} }

// parseRelease returns the release and the server that the flags name, for commands
// that the tour runs.
func parseRelease(c *cli.Context) (release tour.Release, server connectOptions, err error) {
	if os.Getenv(tour.Variable) == "" {
		return nil, server, errors.New("this is a part of coffee tour, which runs it on a server of its own: it would stop the orders of yours")
	}
	release, ok := tour.Releases[c.String("release")]
	if !ok {
		return nil, server, usageErrorf(c, "there is no release %q", c.String("release"))
	}
	server, err = parseConnect(c)
	return release, server, err
}

// tourWorkerCommand returns a worker of the next release, which the tour starts in its
// own process.
func tourWorkerCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:   "worker",
		Hidden: true,
		Usage:  "a worker of the tour's next release",
		Flags:  slices.Concat([]cli.Flag{releaseFlag()}, connectFlags()),
		Action: func(c *cli.Context) error {
			release, server, err := parseRelease(c)
			if err != nil {
				return err
			}
			return a.workOnRelease(c.Context, server, release)
		},
	}
}

// workOnRelease runs a worker of a release until the context ends.
func (a *app) workOnRelease(ctx context.Context, server connectOptions, release tour.Release) (err error) {
	conn, err := a.connect(ctx, server)
	if err != nil {
		return err
	}
	defer conn.Close()
	ledger, where, err := a.openLedger(ctx, ledgerChoice{}, conn, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ledger.Close()) }()
	services := coffee.DefaultServiceConfig()
	services.BrewFailureRate = 0
	w := worker.New(conn.Client, coffee.TaskQueue, worker.Options{DisableRegistrationAliasing: true})
	tour.RegisterRelease(w, release)
	coffee.NewActivities(coffee.NewServiceFactory(services, ledger, a.log)).Register(w)
	a.workerStarted(conn, where)
	interrupted := make(chan any)
	defer context.AfterFunc(ctx, func() { close(interrupted) })()
	return w.Run(interrupted)
}

// tourReplayCommand returns what coffee replay of the next release would be.
func tourReplayCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:   "replay",
		Hidden: true,
		Usage:  "coffee replay of the tour's next release",
		Flags:  slices.Concat([]cli.Flag{releaseFlag()}, connectFlags()),
		Action: func(c *cli.Context) error {
			release, server, err := parseRelease(c)
			if err != nil {
				return err
			}
			return runReplay(c.Context, a, replayPlan{server: server, replay: func(history coffee.History) error {
				return coffee.ReplayOn(release, history)
			}})
		},
	}
}
