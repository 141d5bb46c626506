package local

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/dial"
	"example.com/coffee/coffee/encryption"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/background"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/ledgers"
	"example.com/coffee/commands/internal/monitor"
	"example.com/coffee/timeline"
)

// WorkerFlags returns the worker's settings, for commands that can run a worker.
func WorkerFlags(category string) []cli.Flag {
	defaults := coffee.DefaultServiceConfig()
	var strategies []string
	for _, strategy := range coffee.PricingStrategies() {
		strategies = append(strategies, strategy.Name())
	}
	return []cli.Flag{
		&cli.Float64Flag{Name: "brew-failure-rate", Usage: "`FRACTION` of brew attempts that jam, 0 to 1", Value: defaults.BrewFailureRate, Category: category},
		&cli.DurationFlag{Name: "charge-time", Usage: "`DURATION` of a charge", Value: defaults.ChargeTime, Category: category},
		&cli.DurationFlag{Name: "brew-time", Usage: "`DURATION` of a brew", Value: defaults.BrewTime, Category: category},
		&cli.DurationFlag{Name: "receipt-time", Usage: "`DURATION` of sending a receipt", Value: defaults.ReceiptTime, Category: category},
		&cli.Uint64Flag{Name: "seed", Usage: "the number `N` decides which brew attempts jam: the same N and order id, the same jams", Value: defaults.Seed, Category: category},
		&cli.StringFlag{Name: "pricing", Usage: "`NAME` of the pricing strategy: " + strings.Join(strategies, ", "), Value: strategies[0], Category: category},
		&cli.IntFlag{Name: "concurrency", Usage: "run at most `N` activities (steps of orders) at once", Value: coffee.DefaultConcurrency, Category: category},
		ledgers.Flag(category),
		&cli.BoolFlag{Name: "new-ledger", Usage: "start an empty ledger although the orders of the namespace have been kept in another: for when that is lost for good", Category: category},
		&cli.StringFlag{Name: "build-id", Usage: "`ID` of the release that the worker runs; new orders come to it after coffee rollout ID", Category: category},
		DeploymentFlag(category),
		&cli.BoolFlag{Name: "encryption-required", Usage: "leave orders alone that are not encrypted: they wait for a worker that takes them", Category: category},
		&cli.StringFlag{Name: "versioning", Usage: "`WAY` of its orders when another version is rolled out: pinned ones stay, auto-upgrade ones move", Value: "pinned", Category: category},
		&cli.DurationFlag{Name: "drain-time", Usage: "after an interrupt, wait up to this `DURATION` for running activities", Value: 10 * time.Second, Category: category},
	}
}

// RefuseWorkerFlags returns a usage error for a worker's setting where no worker
// runs, except for those in but, which mean something else to the command.
func RefuseWorkerFlags(c *cli.Context, unless string, but ...string) error {
	for _, flag := range WorkerFlags("") {
		if name := flag.Names()[0]; c.IsSet(name) && !slices.Contains(but, name) {
			return commandline.Errorf(c, "--%s is a setting of the worker: it needs %s, or belongs to coffee worker", name, unless)
		}
	}
	return nil
}

// Worker are the settings of a worker, and the choice of its ledger.
type Worker struct {
	coffee.WorkerOptions
	Ledger ledgers.Choice
	// Metrics is the address to serve metrics on; empty means none.
	Metrics string
	// EncryptionRequired makes the worker refuse what is not encrypted.
	EncryptionRequired bool
}

// CheckRequired returns a usage error if everything must be encrypted and nothing can be.
func CheckRequired(c *cli.Context, options Worker, keyset *encryption.Keyset) error {
	if options.EncryptionRequired && keyset == nil {
		return commandline.Errorf(c, "--encryption-required needs --encryption-keyset")
	}
	return nil
}

// ParseWorker returns the settings of a worker that the flags name.
func ParseWorker(c *cli.Context) (Worker, error) {
	options := Worker{WorkerOptions: coffee.WorkerOptions{
		Services: coffee.ServiceConfig{
			ChargeTime:      c.Duration("charge-time"),
			BrewTime:        c.Duration("brew-time"),
			ReceiptTime:     c.Duration("receipt-time"),
			BrewFailureRate: c.Float64("brew-failure-rate"),
			Seed:            c.Uint64("seed"),
		},
		Concurrency: c.Int("concurrency"),
		DrainTime:   c.Duration("drain-time"),
	}, EncryptionRequired: c.Bool("encryption-required")}
	if err := options.Services.Validate(); err != nil {
		return options, commandline.Errorf(c, "%v", err)
	}
	if options.Concurrency < 1 {
		return options, commandline.Errorf(c, "--concurrency is %d: use 1 or more", options.Concurrency)
	}
	var err error
	if options.Version, err = parseVersion(c); err != nil {
		return options, err
	}
	if options.Pricing, err = coffee.PricingByName(c.String("pricing")); err != nil {
		return options, commandline.Errorf(c, "%v", err)
	}
	options.Ledger, err = ledgers.Parse(c)
	return options, err
}

// parseVersion returns the version of the worker that the flags name; the zero value
// if they name none.
func parseVersion(c *cli.Context) (version worker.DeploymentOptions, err error) {
	if !c.IsSet("build-id") {
		for _, flag := range []string{"deployment", "versioning"} {
			if c.IsSet(flag) {
				return version, commandline.Errorf(c, "--%s needs --build-id", flag)
			}
		}
		return version, nil
	}
	version.UseVersioning = true
	version.Version = worker.WorkerDeploymentVersion{DeploymentName: c.String("deployment"), BuildID: c.String("build-id")}
	switch way := c.String("versioning"); way {
	case "pinned":
		version.DefaultVersioningBehavior = workflow.VersioningBehaviorPinned
	case "auto-upgrade":
		version.DefaultVersioningBehavior = workflow.VersioningBehaviorAutoUpgrade
	default:
		return version, commandline.Errorf(c, "--versioning is %q: use pinned, auto-upgrade", way)
	}
	if err := CheckBuildID(c, version.Version.DeploymentName); err != nil {
		return version, err
	}
	return version, CheckBuildID(c, version.Version.BuildID)
}

var buildIDs = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// CheckBuildID returns a usage error unless a text can be the id of a build, or the name
// of a deployment. Temporal allows more, but a colon separates the two.
func CheckBuildID(c *cli.Context, id string) error {
	if buildIDs.MatchString(id) {
		return nil
	}
	return commandline.Errorf(c, "%q cannot name a version: use 1 to 64 letters, digits, dots, hyphens and underscores", id)
}

// StartWorker starts a worker on a ledger, which is closed when the worker stops. If its
// guard stops the worker, that ends the tasks, unless inServer is true: a server goes on,
// whatever its worker can read. The context bounds only the start.
func StartWorker(ctx context.Context, a *app.App, tasks *background.Tasks, conn *connect.Connection, plan Worker, store ledger.Store, meters *monitor.Monitor, inServer bool) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, store.Close())
		}
	}()
	if err := ledger.Claim(ctx, conn.Orders().Client, store, plan.Ledger.Begin, a.Log); err != nil {
		return err
	}
	options := plan.WorkerOptions
	options.Ledger, options.Orders, options.Log = store, conn.Orders().Client, a.Log
	options.Interceptors = []interceptor.WorkerInterceptor{dial.PlainErrors(), timeline.Recorder(coffee.ActivityBrewCoffee)}
	options.Index = watchIndex(ctx, a, tasks, conn)
	if a.Options.Release != nil {
		options.Register = a.Options.Release.Register
	}
	if a.Options.Worker != nil {
		a.Options.Worker(&options)
	}
	meters.InstrumentWorker(&options, store)
	if options.Version.UseVersioning {
		check := func() error { return conn.Versions().CheckDeployments(ctx) }
		if err := connect.WhenUp(ctx, a, "waiting for the server", connect.NoAnswer, check); err != nil {
			return err
		}
	}
	if options.Tuner, err = conn.Guard.Tuner(options.Concurrency); err != nil {
		return err
	}
	w, err := coffee.NewWorker(conn.Client, options)
	if err != nil {
		return err
	}
	tasks.Start(func(ctx context.Context) error {
		err := guarded(ctx, conn, w.Run) // lets running activities finish within the drain time
		if inServer && coffee.IsUnreadable(err) {
			a.Log.Error().Err(err).Msg("the server goes on without its worker")
			err = nil
		}
		if closeErr := store.Close(); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("cannot close the ledger: %w", closeErr))
		}
		return err
	})
	return nil
}

// watchIndex adds the search attribute that orders write their outcome to, if the namespace
// lacks it and the server allows that. It returns what knows whether the attribute is there.
func watchIndex(ctx context.Context, a *app.App, tasks *background.Tasks, conn *connect.Connection) func() coffee.Index {
	var watch desk.IndexWatch
	if err := watch.Ensure(ctx, conn.Client, conn.Namespace); err != nil {
		a.Log.Warn().Err(err).Msgf("orders cannot be listed by how they ended: there is no search attribute %s", coffee.SearchAttributeStatus)
	}
	tasks.Start(func(ctx context.Context) error {
		watch.Run(ctx, conn.Client, conn.Namespace)
		return nil
	})
	return watch.Index
}

// DeploymentFlag names the deployment, for the commands that know versions.
func DeploymentFlag(category string) cli.Flag {
	return &cli.StringFlag{Name: "deployment", Usage: "`NAME` of the deployment that the versions belong to", Value: coffee.DefaultDeployment, Category: category}
}

// NewGuard returns a guard that logs which orders a worker cannot read. Such an order waits
// for another worker, and harms no other.
func NewGuard(a *app.App) *encryption.Guard {
	guard := encryption.NewGuard(coffee.WorkflowType)
	guard.Refused = func(workflowID string, err error) {
		event := a.Log.Error().Err(err).Str("workflow_id", workflowID)
		if unreadable, ok := errors.AsType[*encryption.UnreadableError](err); ok && unreadable.Keyset != "" {
			event.Str("keyset", unreadable.Keyset)
			if unreadable.Err != nil {
				event.AnErr("keyset_error", unreadable.Err)
			}
		}
		event.Msg("this worker cannot go on with an order, which waits for another one")
	}
	return guard
}

// guarded runs a worker until the context ends, or until its guard finds that the worker
// cannot read any order: then it returns an error. A worker that can read the memo of one of
// the newest orders can read some.
func guarded(ctx context.Context, conn *connect.Connection, run func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	hopeless := make(chan error, 1)
	go func() {
		hopeless <- conn.Guard.Wait(ctx, func(ctx context.Context) error {
			_, err := conn.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
				Namespace: conn.Namespace, Query: "WorkflowType = '" + coffee.WorkflowType + "'", PageSize: 100,
			})
			return err
		})
		stop()
	}()
	err := run(ctx)
	stop()
	return errors.Join(<-hopeless, err)
}
