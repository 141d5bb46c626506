package commands

import (
	"context"
	"errors"
	"slices"

	"github.com/urfave/cli/v3"

	"example.com/coffee/coffee"
)

func workerCommand(out *output) *cli.Command {
	return &cli.Command{
		Name:  "worker",
		Usage: "run a worker: it does the work of the orders",
		Description: "The worker polls the task queue " + coffee.TaskQueue + " and runs the workflow and its activities. " +
			"Any number of workers can run, on any number of machines. " +
			"On an interrupt it takes no more work and lets what is running finish.",
		Flags: slices.Concat(
			[]cli.Flag{devFlag("bring a server as well, in memory")},
			workerFlags(), connectFlags()),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			if cmd.Bool("dev") {
				return runDevWorker(ctx, cmd, out)
			}
			return runWorker(ctx, cmd, out)
		},
	}
}

func runWorker(ctx context.Context, cmd *cli.Command, out *output) error {
	options, err := out.workerOptions(cmd)
	if err != nil {
		return err
	}
	conn, err := out.connect(ctx, cmd)
	if err != nil {
		return err
	}
	defer conn.Close()
	ledger, where, err := openLedger(ctx, cmd, conn, false)
	if err != nil {
		return err
	}
	worker, err := startWorker(ctx, conn, options, ledger)
	if err != nil {
		return err
	}
	out.workerStarted(conn, where)
	return out.workUntilInterrupted(ctx, worker)
}

func runDevWorker(ctx context.Context, cmd *cli.Command, out *output) error {
	d, err := out.startDev(ctx, cmd)
	if err != nil {
		return err
	}
	out.workerStarted(d.connection, d.ledger)
	out.notef("place an order with: coffee order --address %s --drink latte", d.address)
	worker := d.worker
	d.worker = nil // it is stopped first, below
	return errors.Join(out.workUntilInterrupted(ctx, worker), d.stop())
}

func (o *output) workerStarted(conn *connection, ledger string) {
	o.log.Info().Str("address", conn.address).Str("namespace", conn.namespace).
		Str("task_queue", coffee.TaskQueue).Str("ledger", ledger).Msg("worker started")
}

// workUntilInterrupted returns nil after an interrupt, and an error if the
// worker ends by itself.
func (o *output) workUntilInterrupted(ctx context.Context, worker *runningWorker) error {
	select {
	case <-ctx.Done():
		o.log.Info().Msg("stopping: running activities may finish; interrupt again to stop at once")
	case err := <-worker.done:
		worker.done <- err // for stop
	}
	err := worker.stop()
	if err == nil {
		o.log.Info().Msg("worker stopped")
	}
	return err
}
