package commands

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
	"example.com/coffee/devserver"
)

// devFlag is the flag --dev of the commands that can bring their own server.
func devFlag(usage string) cli.Flag { return &cli.BoolFlag{Name: "dev", Usage: usage} }

// parseWhere reads where a command works: on a server of its own, with a worker of
// these options, if --dev is given; on the server of the connection flags otherwise.
// Flags for the worker are refused then, apart from those that mean something else
// to the command.
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
	return server, &options, err
}

// dev is a server, a worker and a connection in this process, all of it in memory.
type dev struct {
	background
	*connection
	book  coffee.Ledger
	where string // the ledger is, in words
}

// startDev starts it all.
func (a *app) startDev(ctx context.Context, options workerOptions) (_ *dev, err error) {
	d := &dev{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.stop())
		}
	}()
	server, err := a.startServer(ctx, &d.background, devserver.Options{SearchAttributes: searchAttributes()})
	if err != nil {
		return nil, err
	}
	d.connection, err = a.connect(ctx, client.Options{HostPort: server.Address(), Namespace: client.DefaultNamespace})
	if err != nil {
		return nil, err
	}
	d.onStop(func() error { d.Close(); return nil })
	if d.book, d.where, err = a.openLedger(ctx, options.ledger, d.connection, true); err != nil {
		return nil, err
	}
	return d, a.startWorker(ctx, &d.background, d.connection, options.WorkerOptions, d.book)
}
