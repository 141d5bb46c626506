package commands

import (
	"context"
	"fmt"

	"example.com/coffee/devserver"
)

// startServer starts a server in this process.
func startServer(ctx context.Context, a *app, tasks *background, options devserver.Options) (*devserver.Server, error) {
	if err := boundMemory(); err != nil {
		a.log.Debug().Err(err).Msg("how much memory there is cannot be found out")
	}
	options.Log = a.platform
	options.Notify = func(line string) { a.out.notef("%s", line) }
	if a.options.Server != nil {
		a.options.Server(&options)
	}
	server, err := devserver.Start(ctx, options)
	if err != nil {
		return nil, err
	}
	if err := releaseProgram(); err != nil {
		a.log.Debug().Err(err).Msg("the program's pages stay in memory")
	}
	// If the server fails it is stopped last too: its worker can still report what it
	// has done if the part that failed is another one.
	tasks.onStop(server.Stop)
	tasks.start(func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case err := <-server.Failed():
			return fmt.Errorf("the server failed: %w", err)
		}
	})
	return server, nil
}
