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
	"example.com/coffee/devserver"
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
		Action: run(a, parseWorker, runWorker),
	}
}

// workerPlan is what the flags ask for. Its server is unused if dev is set.
type workerPlan struct {
	server connect.Options
	worker local.Worker
	dev    bool // with a server in this process
}

func parseWorker(c *cli.Context) (plan workerPlan, err error) {
	if plan.dev = c.Bool("dev"); plan.dev {
		if c.IsSet("metrics-address") {
			return plan, commandline.Errorf(c, "--metrics-address makes no sense with --dev")
		}
		_, worker, err := local.ParseWhere(c)
		if err != nil {
			return plan, err
		}
		plan.worker = *worker
		return plan, nil
	}
	if plan.server, err = connect.Parse(c); err != nil {
		return plan, err
	}
	if plan.worker, err = local.ParseWorker(c); err != nil {
		return plan, err
	}
	if plan.worker.Metrics, err = monitor.ParseAddress(c); err != nil {
		return plan, err
	}
	return plan, local.CheckRequired(c, plan.worker, plan.server.Keyset)
}

func runWorker(ctx context.Context, a *app.App, plan workerPlan) (err error) {
	a.Out.OutliveReaders()
	if plan.dev {
		return runDevWorker(ctx, a, plan.worker)
	}
	var tasks background.Tasks
	defer func() { err = errors.Join(err, tasks.Stop()) }()
	server := plan.server
	meters, err := monitor.Open(&tasks, plan.worker.Metrics, &server)
	if err != nil {
		return err
	}
	meters.Serve(&tasks, nil) // it lives while it waits for its server
	server.Reading = encryption.Options{Required: plan.worker.EncryptionRequired, Guard: local.NewGuard(a)}
	conn, err := connect.OpenWhenUp(ctx, a, server)
	if err != nil {
		return err
	}
	tasks.OnStop(func() error { conn.Close(); return nil })
	where, err := work(ctx, a, &tasks, conn, plan.worker, meters, nil)
	if err != nil {
		return err
	}
	workerStarted(a, conn, where)
	return workUntilInterrupted(ctx, a, &tasks)
}

// work starts a worker, and lets the process be ready once it works. It returns where the
// ledger is. Beside a server in this process, host has its options, and otherwise is nil.
func work(ctx context.Context, a *app.App, tasks *background.Tasks, conn *connect.Connection, plan local.Worker, meters *monitor.Monitor, host *devserver.Options) (where string, err error) {
	ledger, where, err := ledgers.Open(ctx, a, plan.Ledger, conn, host != nil && host.DatabaseFile == "")
	if err != nil {
		return "", err
	}
	if err := local.StartWorker(ctx, a, tasks, conn, plan, ledger, meters, host != nil); err != nil {
		return "", err
	}
	meters.Check(conn.Guard.Check)
	local.WatchVersion(a, tasks, conn, plan.Version.Version, meters)
	meters.Started(conn)
	return where, nil
}

func runDevWorker(ctx context.Context, a *app.App, options local.Worker) error {
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
