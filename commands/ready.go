package commands

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
)

func readyCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "ready",
		Usage: "wait until a server is ready",
		Description: "For scripts that start a server in the background. A server is ready when its health check passes and it has the namespace. " +
			"The exit code is 1 if that takes longer than --timeout.",
		Flags: slices.Concat([]cli.Flag{
			&cli.DurationFlag{Name: "timeout", Usage: "wait at most this `DURATION`; 0 means to ask once", Value: 30 * time.Second},
		}, connectFlags()),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			timeout := c.Duration("timeout")
			if timeout < 0 {
				return usageErrorf(c, "--timeout is %v: use 0 or more", timeout)
			}
			server, err := parseConnect(c)
			if err != nil {
				return err
			}
			return waitReady(c.Context, a, server, time.Now().Add(timeout))
		},
	}
}

// readyPatience is the timeout of one attempt, and readyInterval the pause before
// the next.
const (
	readyPatience = 5 * time.Second
	readyInterval = 100 * time.Millisecond
)

func waitReady(ctx context.Context, a *app, server connectOptions, deadline time.Time) error {
	for {
		address, err := askReady(ctx, a, server)
		if err == nil {
			a.out.printf("%s is ready\n", address)
			return nil
		}
		var denied *serviceerror.PermissionDenied
		if errors.As(err, &denied) || time.Until(deadline) < readyInterval {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(readyInterval):
		}
	}
}

func askReady(ctx context.Context, a *app, server connectOptions) (address string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	conn, err := a.connect(ctx, server)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_, err = conn.CheckHealth(ctx, &client.CheckHealthRequest{})
	return conn.address, err
}
