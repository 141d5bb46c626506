package commands

import (
	"context"
	"errors"
	"os"
	"runtime/debug"

	"github.com/urfave/cli/v3"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
	"example.com/coffee/devserver"
)

// devFlag is the flag --dev of the commands that can bring their own server.
func devFlag(usage string) cli.Flag { return &cli.BoolFlag{Name: "dev", Usage: usage} }

// refuseConnectFlags refuses --address and the like next to --dev.
func refuseConnectFlags(cmd *cli.Command) error {
	for _, flag := range connectFlags() {
		if name := flag.Names()[0]; cmd.IsSet(name) {
			return usageErrorf(cmd, "--dev brings its own server: --%s makes no sense with it", name)
		}
	}
	return nil
}

// searchAttributes are those that our own servers have from the start.
func searchAttributes() map[string]enumspb.IndexedValueType {
	return map[string]enumspb.IndexedValueType{coffee.SearchAttributeStatus: enumspb.INDEXED_VALUE_TYPE_KEYWORD}
}

// startServer starts a server in this process. With one the process allocates a
// lot and keeps little: to collect garbage less often, which takes some hundred
// megabytes under load, makes it a tenth faster. GOGC in the environment wins.
func startServer(ctx context.Context, options devserver.Options) (*devserver.Server, error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	return devserver.Start(ctx, options)
}

// dev is a server, a worker and a client in this process, all of it in memory.
type dev struct {
	*connection
	server *devserver.Server
	worker *runningWorker
	ledger string // where it is, in words
}

// startDev starts it all.
func (o *output) startDev(ctx context.Context, cmd *cli.Command) (_ *dev, err error) {
	if err := refuseConnectFlags(cmd); err != nil {
		return nil, err
	}
	options, err := o.workerOptions(cmd)
	if err != nil {
		return nil, err
	}
	d := &dev{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.stop())
		}
	}()
	d.server, err = startServer(ctx, devserver.Options{Log: o.platform, SearchAttributes: searchAttributes()})
	if err != nil {
		return nil, err
	}
	d.connection, err = o.dial(ctx, client.Options{HostPort: d.server.Address(), Namespace: client.DefaultNamespace})
	if err != nil {
		return nil, err
	}
	ledger, where, err := openLedger(ctx, cmd, d.connection, true)
	if err != nil {
		return nil, err
	}
	d.ledger = where
	d.worker, err = startWorker(ctx, d.connection, options, ledger)
	return d, err
}

// stop stops as much of it as was started, in the opposite order.
func (d *dev) stop() error {
	var errs []error
	if d.worker != nil {
		errs = append(errs, d.worker.stop())
	}
	if d.connection != nil {
		d.Close()
	}
	if d.server != nil {
		errs = append(errs, d.server.Stop())
	}
	return errors.Join(errs...)
}
