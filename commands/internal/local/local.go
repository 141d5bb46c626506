// Package local runs a server and a worker in this process.
package local

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee/encryption"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/background"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/ledgers"
	"example.com/coffee/commands/internal/process"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/exit"
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

// DevFlag is the flag --dev of the commands that can bring their own server.
func DevFlag(usage string) cli.Flag { return &cli.BoolFlag{Name: "dev", Usage: usage} }

// ParseWhere decides where a command works. With --dev that is a server of its own,
// and own has the options of its worker. Otherwise it is the server of the
// connection flags, and worker flags are refused, except for those in but, which
// mean something else to the command.
func ParseWhere(c *cli.Context, but ...string) (server connect.Options, own *Worker, err error) {
	if !c.Bool("dev") {
		if err := RefuseWorkerFlags(c, "--dev", but...); err != nil {
			return server, nil, err
		}
		server, err = connect.Parse(c)
		return server, nil, err
	}
	server.SkipTime = c.Bool("skip-time")
	for _, flag := range connect.Flags() {
		if name := flag.Names()[0]; c.IsSet(name) {
			return server, nil, commandline.Errorf(c, "--dev brings its own server: --%s makes no sense with it", name)
		}
	}
	options, err := ParseWorker(c)
	if err == nil {
		err = CheckRequired(c, options, nil) // nothing leaves this process
	}
	return server, &options, err
}

// dev is a server, a worker and a connection in this process. Everything is in
// memory, unless a flag names a ledger.
type dev struct {
	Tasks  background.Tasks
	Conn   *connect.Connection
	Ledger ledger.Store
	Where  string // where the ledger is, for people
}

// StartDev starts all of it. The connection skips the time of its orders if skipTime
// is true.
func StartDev(ctx context.Context, a *app.App, options Worker, skipTime bool) (_ *dev, err error) {
	d := &dev{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Tasks.Stop())
		}
	}()
	server, err := StartServer(ctx, a, &d.Tasks, devserver.Options{TimeSkipping: skipTime})
	if err != nil {
		return nil, err
	}
	d.Conn, err = connect.Open(ctx, a, connect.Options{Options: server.ClientOptions(), Reading: encryption.Options{Guard: NewGuard(a)}, SkipTime: skipTime})
	if err != nil {
		return nil, err
	}
	d.Tasks.OnStop(func() error { d.Conn.Close(); return nil })
	if d.Ledger, d.Where, err = ledgers.Open(ctx, a, options.Ledger, d.Conn, true); err != nil {
		return nil, err
	}
	return d, StartWorker(ctx, a, &d.Tasks, d.Conn, options, d.Ledger, nil, true)
}

// ListenHTTP opens a port for something that speaks HTTP, which a flag sets.
func ListenHTTP(what devserver.PortName, ip string, port int, flag string) (net.Listener, error) {
	listener, err := devserver.Listen(what, ip, port)
	if err != nil {
		return nil, exit.Hinted(err, terminal.PortHint(flag, err))
	}
	return listener, nil
}
