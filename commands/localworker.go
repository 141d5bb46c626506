package commands

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/encryption"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/telemetry"
	"example.com/coffee/coffee/timeline"
)

// workerFlags returns the worker's settings, for commands that can run a worker.
func workerFlags(category string) []cli.Flag {
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
		ledgerFlag(category),
		&cli.BoolFlag{Name: "new-ledger", Usage: "start an empty ledger although the orders of the namespace have been kept in another: for when that is lost for good", Category: category},
		&cli.StringFlag{Name: "build-id", Usage: "`ID` of the release that the worker runs; new orders come to it after coffee rollout ID", Category: category},
		deploymentFlag(category),
		&cli.BoolFlag{Name: "encryption-required", Usage: "leave orders alone that are not encrypted: they wait for a worker that takes them", Category: category},
		&cli.StringFlag{Name: "versioning", Usage: "`WAY` of its orders when another version is rolled out: pinned ones stay, auto-upgrade ones move", Value: "pinned", Category: category},
		&cli.DurationFlag{Name: "drain-time", Usage: "after an interrupt, wait up to this `DURATION` for running activities", Value: 10 * time.Second, Category: category},
	}
}

// refuseWorkerFlags returns a usage error for a worker's setting where no worker
// runs, except for those in but, which mean something else to the command.
func refuseWorkerFlags(c *cli.Context, unless string, but ...string) error {
	for _, flag := range workerFlags("") {
		if name := flag.Names()[0]; c.IsSet(name) && !slices.Contains(but, name) {
			return usageErrorf(c, "--%s is a setting of the worker: it needs %s, or belongs to coffee worker", name, unless)
		}
	}
	return nil
}

// workerOptions are the settings of a worker, and the choice of its ledger.
type workerOptions struct {
	coffee.WorkerOptions
	ledger ledgerChoice
	// newLedger lets an empty ledger take the place of the one that orders were kept in.
	newLedger bool
	// metrics is the address to serve metrics on; empty means none.
	metrics string
	// encryptionRequired makes the worker refuse what is not encrypted.
	encryptionRequired bool
}

// checkRequired returns a usage error if everything must be encrypted and nothing can be.
func checkRequired(c *cli.Context, options workerOptions, keyset *encryption.Keyset) error {
	if options.encryptionRequired && keyset == nil {
		return usageErrorf(c, "--encryption-required needs --encryption-keyset")
	}
	return nil
}

func parseWorker(c *cli.Context) (workerOptions, error) {
	options := workerOptions{WorkerOptions: coffee.WorkerOptions{
		Services: coffee.ServiceConfig{
			ChargeTime:      c.Duration("charge-time"),
			BrewTime:        c.Duration("brew-time"),
			ReceiptTime:     c.Duration("receipt-time"),
			BrewFailureRate: c.Float64("brew-failure-rate"),
			Seed:            c.Uint64("seed"),
		},
		Concurrency: c.Int("concurrency"),
		DrainTime:   c.Duration("drain-time"),
	}, newLedger: c.Bool("new-ledger")}
	if err := options.Services.Validate(); err != nil {
		return options, usageErrorf(c, "%v", err)
	}
	if options.Concurrency < 1 {
		return options, usageErrorf(c, "--concurrency is %d: use 1 or more", options.Concurrency)
	}
	var err error
	if options.Version, err = parseVersion(c); err != nil {
		return options, err
	}
	if options.Pricing, err = coffee.PricingByName(c.String("pricing")); err != nil {
		return options, usageErrorf(c, "%v", err)
	}
	options.encryptionRequired = c.Bool("encryption-required")
	options.ledger, err = parseLedger(c)
	return options, err
}

// parseVersion returns the version of the worker that the flags name; the zero value
// if they name none.
func parseVersion(c *cli.Context) (version worker.DeploymentOptions, err error) {
	if !c.IsSet("build-id") {
		for _, flag := range []string{"deployment", "versioning"} {
			if c.IsSet(flag) {
				return version, usageErrorf(c, "--%s needs --build-id", flag)
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
		return version, usageErrorf(c, "--versioning is %q: use pinned, auto-upgrade", way)
	}
	if err := checkBuildID(c, version.Version.DeploymentName); err != nil {
		return version, err
	}
	return version, checkBuildID(c, version.Version.BuildID)
}

var buildIDs = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// checkBuildID returns a usage error unless a text can be the id of a build, or the name
// of a deployment. Temporal allows more, but a colon separates the two.
func checkBuildID(c *cli.Context, id string) error {
	if buildIDs.MatchString(id) {
		return nil
	}
	return usageErrorf(c, "%q cannot name a version: use 1 to 64 letters, digits, dots, hyphens and underscores", id)
}

// startWorker starts a worker on a ledger, which is closed when the worker stops. If its
// guard stops the worker, that ends the tasks, unless inServer is true: a server goes on,
// whatever its worker can read. The context bounds only the start.
func startWorker(ctx context.Context, a *app, tasks *background, conn *connection, plan workerOptions, store ledger.Store, meters *meters, inServer bool) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, store.Close())
		}
	}()
	if err := ledger.Claim(ctx, conn.orders().Client, store, plan.newLedger, a.log); err != nil {
		return err
	}
	options := plan.WorkerOptions
	options.Ledger, options.Orders, options.Log = store, conn.orders().Client, a.log
	options.Interceptors = []interceptor.WorkerInterceptor{telemetry.Counter(), timeline.Recorder()}
	options.Index = watchIndex(ctx, a, tasks, conn)
	if a.options.Release != nil {
		options.Register = a.options.Release.Register
	}
	if a.options.Worker != nil {
		a.options.Worker(&options)
	}
	if err := meters.instrumentWorker(&options, store); err != nil {
		return err
	}
	if options.Version.UseVersioning {
		check := func() error { return conn.versions().CheckDeployments(ctx) }
		if err := whenUp(ctx, a, "waiting for the server", noAnswer, check); err != nil {
			return err
		}
	}
	if options.Tuner, err = conn.guard.Tuner(options.Concurrency); err != nil {
		return err
	}
	w, err := coffee.NewWorker(conn.Client, options)
	if err != nil {
		return err
	}
	tasks.start(func(ctx context.Context) error {
		err := guarded(ctx, conn, w.Run) // lets running activities finish within the drain time
		if inServer && coffee.IsUnreadable(err) {
			a.log.Error().Err(err).Msg("the server goes on without its worker")
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
func watchIndex(ctx context.Context, a *app, tasks *background, conn *connection) func() coffee.Index {
	var watch desk.IndexWatch
	if err := watch.Ensure(ctx, conn.Client, conn.namespace); err != nil {
		a.log.Warn().Err(err).Msgf("orders cannot be listed by how they ended: there is no search attribute %s", coffee.SearchAttributeStatus)
	}
	tasks.start(func(ctx context.Context) error {
		watch.Run(ctx, conn.Client, conn.namespace)
		return nil
	})
	return watch.Index
}

// deploymentFlag names the deployment, for the commands that know versions.
func deploymentFlag(category string) cli.Flag {
	return &cli.StringFlag{Name: "deployment", Usage: "`NAME` of the deployment that the versions belong to", Value: coffee.DefaultDeployment, Category: category}
}
