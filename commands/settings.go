package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"example.com/coffee/coffee"
)

// workerFlags are the worker's settings, for every command that can run one.
func workerFlags() []cli.Flag {
	const category = "WORKER"
	defaults := coffee.DefaultServiceConfig()
	var strategies []string
	for _, strategy := range coffee.PricingStrategies() {
		strategies = append(strategies, strategy.Name())
	}
	return []cli.Flag{
		&cli.FloatFlag{Name: "brew-failure-rate", Usage: "share of brew attempts that jam, 0 to 1", Value: defaults.BrewFailureRate, Category: category},
		&cli.DurationFlag{Name: "charge-time", Usage: "how long a charge takes", Value: defaults.ChargeTime, Category: category},
		&cli.DurationFlag{Name: "brew-time", Usage: "how long a brew takes", Value: defaults.BrewTime, Category: category},
		&cli.DurationFlag{Name: "receipt-time", Usage: "how long a receipt takes", Value: defaults.ReceiptTime, Category: category},
		&cli.Uint64Flag{Name: "seed", Usage: "decides which brew attempts jam", Value: defaults.Seed, Category: category},
		&cli.StringFlag{Name: "pricing", Usage: "`NAME` of the pricing strategy: " + strings.Join(strategies, ", "), Value: strategies[0], Category: category},
		&cli.FloatFlag{Name: "late-charge-rate", Usage: "share of charges that go on when their attempt is given up, 0 to 1", Category: category, Hidden: true},
		&cli.IntFlag{Name: "concurrency", Usage: "how many activities run at once", Value: coffee.DefaultConcurrency, Category: category},
		ledgerFlag(category),
		&cli.BoolFlag{Name: "new-ledger", Usage: "begin a new ledger even if orders of the server have been charged", Category: category},
		&cli.DurationFlag{Name: "drain-time", Usage: "how long running activities may take to finish after an interrupt", Value: 10 * time.Second, Category: category},
	}
}

// refuseWorkerFlags refuses the worker's settings where no worker runs, apart
// from those that mean something else to the command.
func refuseWorkerFlags(cmd *cli.Command, unless string, but ...string) error {
	for _, flag := range workerFlags() {
		if name := flag.Names()[0]; cmd.IsSet(name) && !slices.Contains(but, name) {
			return usageErrorf(cmd, "--%s is a setting of the worker: it needs %s, or belongs to coffee worker", name, unless)
		}
	}
	return nil
}

// workerOptions reads the flags. The ledger is left to the caller.
func (o *output) workerOptions(cmd *cli.Command) (coffee.WorkerOptions, error) {
	options := coffee.WorkerOptions{
		Services: coffee.ServiceConfig{
			ChargeTime:      cmd.Duration("charge-time"),
			BrewTime:        cmd.Duration("brew-time"),
			ReceiptTime:     cmd.Duration("receipt-time"),
			BrewFailureRate: cmd.Float("brew-failure-rate"),
			Seed:            cmd.Uint64("seed"),
			LateChargeRate:  cmd.Float("late-charge-rate"),
		},
		Concurrency: cmd.Int("concurrency"),
		DrainTime:   cmd.Duration("drain-time"),
		Log:         o.log,
	}
	if err := options.Services.Validate(); err != nil {
		return options, usageErrorf(cmd, "%v", err)
	}
	if options.Concurrency < 1 {
		return options, usageErrorf(cmd, "--concurrency is %d: use 1 or more", options.Concurrency)
	}
	if options.DrainTime < 0 {
		return options, usageErrorf(cmd, "--drain-time is %v: use 0 or more", options.DrainTime)
	}
	var err error
	if options.Pricing, err = coffee.PricingByName(cmd.String("pricing")); err != nil {
		return options, usageErrorf(cmd, "%v", err)
	}
	return options, nil
}

// ledgerVariable is the environment variable for the flag --ledger.
const ledgerVariable = "COFFEE_LEDGER"

func ledgerFlag(category string) cli.Flag {
	return &cli.StringFlag{
		Name:     "ledger",
		Usage:    "SQLite `FILE` or postgres:// URL that money is written down in (default: $" + ledgerVariable + ", or a file for each server, in the data directory)",
		Category: category,
	}
}

// whichLedger is the file or URL of the ledger: what the flag says, or else
// the environment, or else the file of the server.
func whichLedger(ctx context.Context, cmd *cli.Command, conn *connection) (string, error) {
	// The variable is not the flag's source: it is no error where no worker runs.
	where := cmp.Or(cmd.String("ledger"), os.Getenv(ledgerVariable))
	if where == "" {
		return conn.ledgerPath(ctx)
	}
	if err := checkLedgerName(where); err != nil {
		return "", err
	}
	return where, nil
}

// checkLedgerName refuses what is neither a file nor a postgres:// URL.
func checkLedgerName(where string) error {
	if _, err := coffee.PostgresURL(where); err != nil {
		return &usageError{message: fmt.Sprintf("--ledger: %v", err)}
	}
	return nil
}

// isPostgres reports whether a ledger whose name has been checked is in
// PostgreSQL.
func isPostgres(where string) bool {
	url, err := coffee.PostgresURL(where)
	return err == nil && url != ""
}

// openLedger opens the ledger. If nobody says which, and the server is in memory
// and in this process, so is the ledger; the environment is not asked then,
// because orders that will be forgotten do not belong among those that count.
func openLedger(ctx context.Context, cmd *cli.Command, conn *connection, inMemory bool) (ledger coffee.Ledger, where string, err error) {
	if inMemory && cmd.String("ledger") == "" {
		ledger, err = coffee.OpenMemoryLedger(ctx)
		return ledger, "in memory", err
	}
	if where, err = whichLedger(ctx, cmd, conn); err != nil {
		return nil, "", err
	}
	ledger, err = coffee.OpenExistingLedger(ctx, where)
	if errors.Is(err, coffee.ErrNoLedger) {
		if !cmd.Bool("new-ledger") {
			if err := refuseNewLedger(ctx, conn, redacted(where)); err != nil {
				return nil, "", err
			}
		}
		ledger, err = coffee.OpenLedger(ctx, where)
	}
	if err != nil {
		return nil, "", &hintedError{err, "choose another one with --ledger"}
	}
	return ledger, redacted(where), nil
}

// refuseNewLedger returns an error if orders on the server have been charged: what
// they have paid is then in a ledger that is somewhere else, or was lost.
func refuseNewLedger(ctx context.Context, conn *connection, where string) error {
	charged, err := coffee.NewClient(conn, conn.namespace).FindCharged(ctx)
	if err != nil || charged == "" {
		return err
	}
	return &hintedError{
		fmt.Errorf("there is no ledger %s, but order %s has been charged: the ledger was moved, or lost", where, coffee.Printable(charged)),
		"put it back, say where it is with --ledger, or begin a new one with --new-ledger",
	}
}

// redacted is where a ledger is, without who may open it: a URL can have a
// password in it, in more than one place.
func redacted(where string) string {
	if !isPostgres(where) {
		return where
	}
	u, err := url.Parse(where)
	if err != nil {
		return "in PostgreSQL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// runningWorker is a worker in a goroutine.
type runningWorker struct {
	ledger coffee.Ledger
	cancel context.CancelFunc
	done   chan error
}

// startWorker starts a worker that runs until it is stopped; it outlives the
// context, which bounds the start. The options need no ledger: the worker
// closes the one that it is given here.
func startWorker(ctx context.Context, conn *connection, options coffee.WorkerOptions, ledger coffee.Ledger) (*runningWorker, error) {
	options.Namespace = conn.namespace
	options.Ledger = ledger
	w, err := coffee.NewWorker(ctx, conn.Client, options)
	if err != nil {
		ledger.Close()
		return nil, err
	}
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	running := &runningWorker{ledger: ledger, cancel: cancel, done: make(chan error, 1)}
	go func() { running.done <- w.Run(runCtx) }()
	return running, nil
}

// stop lets running activities finish within the drain time.
func (w *runningWorker) stop() error {
	w.cancel()
	err := <-w.done
	if closeErr := w.ledger.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("cannot close the ledger: %w", closeErr)
	}
	return err
}
