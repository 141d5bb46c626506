package commands

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
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
		Action: func(c *cli.Context) error {
			if err := commandline.NoArguments(c); err != nil {
				return err
			}
			timeout := c.Duration("timeout")
			return waitReady(c.Context, a, timeout, func() (connect.Options, error) { return connect.Parse(c) })
		},
	}
}

// readyInterval is the pause before the next attempt.
const readyInterval = 100 * time.Millisecond

// waitReady asks a server until it is ready, or the timeout has passed; 0 means once. The
// files that say which server it is may come meanwhile.
func waitReady(ctx context.Context, a *app.App, timeout time.Duration, parse func() (connect.Options, error)) error {
	deadline := time.Now().Add(timeout)
	var problem error
	var server *connect.Options // nil until its files are there
	for {
		patience := connect.Patience
		if timeout > 0 {
			patience = min(patience, time.Until(deadline))
		}
		attempt, cancel := context.WithTimeout(ctx, patience)
		address, err := askReady(attempt, a, &server, parse)
		if problem == nil || attempt.Err() == nil { // what was cut off knows less
			problem = err
		}
		cancel()
		if err == nil {
			a.Out.Printf("%s is ready\n", address)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !mayPass(err) || time.Until(deadline) < readyInterval {
			return problem
		}
		if !sleep.For(ctx, readyInterval) {
			return ctx.Err()
		}
	}
}

// mayPass reports whether a problem can pass while a server starts.
func mayPass(err error) bool {
	var denied *serviceerror.PermissionDenied
	var configuration *configurationError
	switch {
	case errors.As(err, &denied):
		return false
	case errors.As(err, &configuration):
		return errors.Is(err, fs.ErrNotExist)
	}
	return true
}

// configurationError says that flags, environment or files are wrong.
type configurationError struct{ error }

func (e *configurationError) Unwrap() error { return e.error }

// askReady asks a server, which it parses first if that is nil.
func askReady(ctx context.Context, a *app.App, server **connect.Options, parse func() (connect.Options, error)) (address string, err error) {
	if *server == nil {
		parsed, err := parse()
		if err != nil {
			return "", &configurationError{err}
		}
		*server = &parsed
	}
	conn, err := connect.OpenReady(ctx, a, **server)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_, err = conn.CheckHealth(ctx, &client.CheckHealthRequest{})
	return conn.At.Address, err
}
