package commands

import (
	"context"
	"errors"
	"slices"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/encryption"
)

func workerCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "worker",
		Usage: "run a worker, which does the work of the orders",
		Description: "Polls the task queue " + coffee.TaskQueue + ", and runs the workflow and its activities. " +
			"Start as many workers as you like, on any number of machines. " +
			"On an interrupt a worker takes no more work and lets running activities finish.",
		Flags: slices.Concat(
			[]cli.Flag{devFlag("also run a server in memory, on a free port that is printed"), metricsFlag("")},
			workerFlags("WORKER"), connectFlags()),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			if !c.Bool("dev") {
				server, err := parseConnect(c)
				if err != nil {
					return err
				}
				options, err := parseWorker(c)
				if err != nil {
					return err
				}
				if err := checkRequired(c, options, server.keyset); err != nil {
					return err
				}
				if options.metrics, err = parseMetrics(c); err != nil {
					return err
				}
				return runWorker(c.Context, a, server, options)
			}
			if c.IsSet("metrics-address") {
				return usageErrorf(c, "--metrics-address makes no sense with --dev")
			}
			_, options, err := parseWhere(c)
			if err != nil {
				return err
			}
			return runDevWorker(c.Context, a, *options)
		},
	}
}

func runWorker(ctx context.Context, a *app, server connectOptions, options workerOptions) (err error) {
	a.out.outliveReaders()
	var tasks background
	defer func() { err = errors.Join(err, tasks.stop()) }()
	meters, err := openMeters(&tasks, options.metrics)
	if err != nil {
		return err
	}
	meters.instrument(&server)
	meters.serve(&tasks, nil) // it lives while it waits for its server
	server.reading = encryption.Options{Required: options.encryptionRequired, Guard: newGuard(a)}
	conn, err := connectWhenUp(ctx, a, server)
	if err != nil {
		return err
	}
	tasks.onStop(func() error { conn.Close(); return nil })
	ledger, where, err := openLedger(ctx, a, options.ledger, conn, false)
	if err != nil {
		return err
	}
	if err := startWorker(ctx, a, &tasks, conn, options, ledger, meters, false); err != nil {
		return err
	}
	meters.check(conn.guard.Check)
	watchVersion(a, &tasks, conn, options.Version.Version, meters)
	meters.started(conn)
	workerStarted(a, conn, where)
	return workUntilInterrupted(ctx, a, &tasks)
}

func runDevWorker(ctx context.Context, a *app, options workerOptions) error {
	a.out.outliveReaders()
	d, err := startDev(ctx, a, options, false)
	if err != nil {
		return err
	}
	workerStarted(a, d.conn, d.where)
	a.out.notef("place an order with: coffee order --address %s --drink latte", d.conn.at.address)
	return workUntilInterrupted(ctx, a, &d.tasks)
}

func workerStarted(a *app, conn *connection, ledger string) {
	a.log.Info().Str("address", conn.at.address).Str("namespace", conn.namespace).
		Str("task_queue", coffee.TaskQueue).Str("ledger", ledger).Msg("worker started")
}

// workUntilInterrupted waits until the context or a task ends, and stops the tasks.
// It returns nil if they ended without an error.
func workUntilInterrupted(ctx context.Context, a *app, tasks *background) error {
	tasks.wait(ctx)
	if ctx.Err() != nil {
		a.log.Info().Msg("stopping: waiting for running activities; interrupt again to stop at once")
	}
	err := tasks.stop()
	if err == nil {
		a.log.Info().Msg("worker stopped")
	}
	return err
}
