package commands

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee/encryption"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/devserver"
)

// devFlag is the flag --dev of the commands that can bring their own server.
func devFlag(usage string) cli.Flag { return &cli.BoolFlag{Name: "dev", Usage: usage} }

// parseWhere decides where a command works. With --dev that is a server of its own,
// and own has the options of its worker. Otherwise it is the server of the
// connection flags, and worker flags are refused, except for those in but, which
// mean something else to the command.
func parseWhere(c *cli.Context, but ...string) (server connectOptions, own *workerOptions, err error) {
	if !c.Bool("dev") {
		if err := refuseWorkerFlags(c, "--dev", but...); err != nil {
			return server, nil, err
		}
		server, err = parseConnect(c)
		return server, nil, err
	}
	for _, flag := range connectFlags() {
		if name := flag.Names()[0]; c.IsSet(name) {
			return server, nil, usageErrorf(c, "--dev brings its own server: --%s makes no sense with it", name)
		}
	}
	options, err := parseWorker(c)
	if err == nil {
		err = checkRequired(c, options, nil) // nothing leaves this process
	}
	return server, &options, err
}

// dev is a server, a worker and a connection in this process. Everything is in
// memory, unless a flag names a ledger.
type dev struct {
	tasks  background
	conn   *connection
	ledger ledger.Store
	where  string // where the ledger is, for people
}

// startDev starts all of it. The connection skips the time of its orders if skipTime
// is true.
func startDev(ctx context.Context, a *app, options workerOptions, skipTime bool) (_ *dev, err error) {
	d := &dev{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.tasks.stop())
		}
	}()
	server, err := startServer(ctx, a, &d.tasks, devserver.Options{TimeSkipping: skipTime})
	if err != nil {
		return nil, err
	}
	d.conn, err = connect(ctx, a, withSkipTime(connectOptions{Options: server.ClientOptions(), reading: encryption.Options{Guard: newGuard(a)}}, skipTime))
	if err != nil {
		return nil, err
	}
	d.tasks.onStop(func() error { d.conn.Close(); return nil })
	if d.ledger, d.where, err = openLedger(ctx, a, options.ledger, d.conn, true); err != nil {
		return nil, err
	}
	return d, startWorker(ctx, a, &d.tasks, d.conn, options, d.ledger, nil, true)
}
