package commands

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/internal/sleep"
)

func readyCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:  "ready",
		Usage: "wait until a server is ready",
		Description: "For scripts that start a server in the background. A server is ready when its health check passes and it has the namespace. " +
			"A --config-file that is not there yet is waited for as well. The exit code is 1 if that takes longer than --timeout.",
		Flags: slices.Concat([]cli.Flag{
			&cli.DurationFlag{Name: "timeout", Usage: "wait at most this `DURATION`; 0 means to ask once", Value: 30 * time.Second},
		}, connect.Flags()),
		Action: run(a, parseReady, runReady),
	}
}

type readyPlan struct {
	timeout time.Duration // 0 means to ask once
	// server says which server it is. The files that say so may come while it is waited for.
	server func() (connect.Options, error)
}

func parseReady(c *cli.Context) (readyPlan, error) {
	return readyPlan{c.Duration("timeout"), func() (connect.Options, error) { return connect.Parse(c) }}, nil
}

// readyInterval is the pause before the next attempt.
const readyInterval = 100 * time.Millisecond

// runReady asks a server until it is ready, or the timeout has passed.
func runReady(ctx context.Context, a *app.App, plan readyPlan) error {
	deadline := time.Now().Add(plan.timeout)
	server, problem := plan.server()
	for errors.Is(problem, fs.ErrNotExist) && time.Until(deadline) >= readyInterval && sleep.For(ctx, readyInterval) {
		server, problem = plan.server()
	}
	if problem != nil {
		return cmp.Or(ctx.Err(), problem)
	}
	for {
		patience := connect.Patience
		if plan.timeout > 0 {
			patience = min(patience, time.Until(deadline))
		}
		attempt, cancel := context.WithTimeout(ctx, patience)
		address, err := askReady(attempt, a, server)
		if problem == nil || attempt.Err() == nil { // what was cut off knows less
			problem = err
		}
		cancel()
		var denied *serviceerror.PermissionDenied
		switch {
		case err == nil:
			a.Out.Printf("%s is ready\n", address)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &denied) || time.Until(deadline) < readyInterval:
			return problem
		}
		sleep.For(ctx, readyInterval)
	}
}

func askReady(ctx context.Context, a *app.App, server connect.Options) (address string, err error) {
	conn, err := connect.OpenReady(ctx, a, server)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_, err = conn.CheckHealth(ctx, &client.CheckHealthRequest{})
	return conn.At.Address, err
}
