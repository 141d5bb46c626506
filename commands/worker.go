package commands

import (
	"context"
	"errors"
	"slices"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/encryption"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/background"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/ledgers"
	"example.com/coffee/commands/internal/local"
	"example.com/coffee/commands/internal/monitor"
)

func workerCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:  "worker",
		Usage: "run a worker, which does the work of the orders",
		Description: "Polls the task queue " + coffee.TaskQueue + ", and runs the workflow and its activities. " +
			"Start as many workers as you like, on any number of machines. " +
			"On an interrupt a worker takes no more work and lets running activities finish.",
		Flags: slices.Concat(
			[]cli.Flag{local.DevFlag("also run a server in memory, on a free port that is printed"), monitor.Flag("")},
			local.WorkerFlags("WORKER"), connect.Flags()),
		Action: func(c *cli.Context) error {
			if err := commandline.NoArguments(c); err != nil {
				return err
			}
			if !c.Bool("dev") {
				server, err := connect.Parse(c)
				if err != nil {
					return err
				}
				options, err := local.ParseWorker(c)
				if err != nil {
					return err
				}
				if err := local.CheckRequired(c, options, server.Keyset); err != nil {
					return err
				}
				if options.Metrics, err = monitor.ParseAddress(c); err != nil {
					return err
				}
				return runWorker(c.Context, a, server, options)
			}
			if c.IsSet("metrics-address") {
				return commandline.Errorf(c, "--metrics-address makes no sense with --dev")
			}
			_, options, err := local.ParseWhere(c)
			if err != nil {
				return err
			}
			return runDevWorker(c.Context, a, *options)
		},
	}
}

func runWorker(ctx context.Context, a *app.App, server connect.Options, options local.Worker) (err error) {
	a.Out.OutliveReaders()
	var tasks background.Tasks
	defer func() { err = errors.Join(err, tasks.Stop()) }()
	meters, err := monitor.Open(&tasks, options.Metrics)
	if err != nil {
		return err
	}
	meters.Instrument(&server)
	meters.Serve(&tasks, nil) // it lives while it waits for its server
	server.Reading = encryption.Options{Required: options.EncryptionRequired, Guard: local.NewGuard(a)}
	conn, err := connect.OpenWhenUp(ctx, a, server)
	if err != nil {
		return err
	}
	tasks.OnStop(func() error { conn.Close(); return nil })
	ledger, where, err := ledgers.Open(ctx, a, options.Ledger, conn, false)
	if err != nil {
		return err
	}
	if err := local.StartWorker(ctx, a, &tasks, conn, options, ledger, meters, false); err != nil {
		return err
	}
	meters.Check(conn.Guard.Check)
	local.WatchVersion(a, &tasks, conn, options.Version.Version, meters)
	meters.Started(conn)
	workerStarted(a, conn, where)
	return workUntilInterrupted(ctx, a, &tasks)
}

func runDevWorker(ctx context.Context, a *app.App, options local.Worker) error {
	a.Out.OutliveReaders()
	d, err := local.StartDev(ctx, a, options, false)
	if err != nil {
		return err
	}
	workerStarted(a, d.Conn, d.Where)
	a.Out.Notef("place an order with: coffee order --address %s --drink latte", d.Conn.At.Address)
	return workUntilInterrupted(ctx, a, &d.Tasks)
}

func workerStarted(a *app.App, conn *connect.Connection, ledger string) {
	a.Log.Info().Str("address", conn.At.Address).Str("namespace", conn.Namespace).
		Str("task_queue", coffee.TaskQueue).Str("ledger", ledger).Msg("worker started")
}

// workUntilInterrupted waits until the context or a task ends, and stops the tasks.
// It returns nil if they ended without an error.
func workUntilInterrupted(ctx context.Context, a *app.App, tasks *background.Tasks) error {
	tasks.Wait(ctx)
	if ctx.Err() != nil {
		a.Log.Info().Msg("stopping: waiting for running activities; interrupt again to stop at once")
	}
	err := tasks.Stop()
	if err == nil {
		a.Log.Info().Msg("worker stopped")
	}
	return err
}
