// Package local runs a server and a worker in this process.
package local

import (
	"context"
	"fmt"

	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/background"
	"example.com/coffee/commands/internal/process"
	"example.com/coffee/devserver"
)

// StartServer starts a server in this process.
func StartServer(ctx context.Context, a *app.App, tasks *background.Tasks, options devserver.Options) (*devserver.Server, error) {
	if err := process.BoundMemory(); err != nil {
		a.Log.Debug().Err(err).Msg("how much memory there is cannot be found out")
	}
	options.Log = a.Platform
	options.Notify = func(line string) { a.Out.Notef("%s", line) }
	if a.Options.Server != nil {
		a.Options.Server(&options)
	}
	server, err := devserver.Start(ctx, options)
	if err != nil {
		return nil, err
	}
	if err := process.ReleaseProgram(); err != nil {
		a.Log.Debug().Err(err).Msg("the program's pages stay in memory")
	}
	// If the server fails it is stopped last too: its worker can still report what it
	// has done if the part that failed is another one.
	tasks.OnStop(server.Stop)
	tasks.Start(func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case err := <-server.Failed():
			return fmt.Errorf("the server failed: %w", err)
		}
	})
	return server, nil
}
