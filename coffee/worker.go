package coffee

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"google.golang.org/grpc/codes"
)

// WorkerOptions configure a [Worker].
type WorkerOptions struct {
	// Namespace is the client's; the worker looks up its search attributes.
	Namespace string
	// Services configures the simulated services.
	Services ServiceConfig
	// Pricing computes the price of new orders; nil means [StandardPricing].
	Pricing PricingStrategy
	// Ledger records payments. It is required. The caller closes it after the
	// worker has stopped.
	Ledger Ledger
	// Orders reads what was recorded of an order before a reset. It must be able to
	// decode it; nil means a client on the worker's own connection.
	Orders *Client
	// NewLedger lets the ledger, if it is empty, take the place of the one in which
	// the orders of the namespace have been kept.
	NewLedger bool
	// Concurrency is how many activities may run at once; 0 means 200.
	Concurrency int
	// DrainTime is how long running activities may take to finish after the worker
	// was told to stop; 0 means that it does not wait for them.
	DrainTime time.Duration
	// Version is the release that the worker runs; the zero value means none.
	Version WorkerVersion
	// Register, unless nil, registers another release of the workflow in place of
	// [OrderWorkflow]. The activities are those of this package all the same.
	Register func(worker.Registry)
	// Tuner, unless nil, says how many tasks the worker takes at once, in place of
	// Concurrency.
	Tuner worker.WorkerTuner
	// Interceptors see each workflow and each attempt of an activity; see package
	// telemetry.
	Interceptors []interceptor.WorkerInterceptor
	// Log receives what happens to the orders; the zero value is a disabled logger.
	Log zerolog.Logger
}

// DefaultConcurrency is how many activities a worker runs at once by default.
const DefaultConcurrency = 200

// Worker polls the task queue and runs workflows and activities.
type Worker struct {
	worker worker.Worker
	fatal  chan error
	// watch looks whether the server still has the search attribute, until the context
	// ends.
	watch func(context.Context)
}

// NewWorker returns a worker that has not started yet. It adds the search attribute
// [SearchAttributeStatus] to the namespace if that lacks it and the server allows it. The
// client may be one that wraps the SDK's, and has a method Unwrap that returns that.
// NewWorker returns an error if there is no ledger or a service setting is invalid, and
// [ErrForeignLedger] if the ledger and the namespace do not belong together.
func NewWorker(ctx context.Context, c client.Client, options WorkerOptions) (*Worker, error) {
	if options.Ledger == nil {
		return nil, errors.New("worker: no ledger")
	}
	if err := options.Services.Validate(); err != nil {
		return nil, err
	}
	if options.Pricing == nil {
		options.Pricing = StandardPricing{}
	}
	if options.Concurrency == 0 {
		options.Concurrency = DefaultConcurrency
	}
	if err := bindLedger(ctx, NewClient(c, options.Namespace), options); err != nil {
		return nil, err
	}
	watched := &attributeWatch{}
	if err := watched.ensure(ctx, c, options.Namespace); err != nil {
		options.Log.Warn().Err(err).Msgf("orders cannot be listed by how they ended: there is no search attribute %s", SearchAttributeStatus)
	}

	if wrapper, ok := c.(interface{ Unwrap() client.Client }); ok {
		c = wrapper.Unwrap() // the SDK takes no other
	}
	fatal := make(chan error, 1)
	w := worker.New(c, TaskQueue, sdkOptions(options, fatal))
	if options.Register != nil {
		options.Register(w)
	} else {
		(&OrderWorkflow{Pricing: options.Pricing, attribute: watched}).Register(w)
	}
	activities := NewActivities(NewServiceFactory(options.Services, options.Ledger, options.Log))
	activities.Orders = options.Orders
	activities.Register(w)
	return &Worker{worker: w, fatal: fatal, watch: func(ctx context.Context) { watched.run(ctx, c, options.Namespace) }}, nil
}

// bindPatience is how often a worker tries to find out whose its ledger is, once a second,
// while the server or the ledger fails.
const bindPatience = 30

// bindLedger binds the ledger to the namespace. Where the server does not allow it, only
// the ledger knows.
func bindLedger(ctx context.Context, c *Client, options WorkerOptions) error {
	for attempt := 1; ; attempt++ {
		err := c.BindLedger(ctx, options.Ledger, options.NewLedger)
		switch {
		case isDenied(err):
			options.Log.Warn().Err(err).Msg("the server does not let this worker record which ledger its orders are kept in: nothing stops a worker with another one")
			return nil
		case err == nil, errors.Is(err, ErrForeignLedger), errors.Is(err, ErrNewerLedger), ctx.Err() != nil, attempt == bindPatience:
			return err
		}
		switch serviceerror.ToStatus(err).Code() {
		case codes.InvalidArgument, codes.NotFound, codes.Unauthenticated, codes.Unimplemented, codes.FailedPrecondition:
			return err
		}
		options.Log.Warn().Err(err).Msg("whose ledger this is cannot be found out: trying again")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// sdkOptions are the options of the SDK's worker. What stops it for good is sent to
// fatal, which needs room for one error.
func sdkOptions(options WorkerOptions, fatal chan<- error) worker.Options {
	concurrency := options.Concurrency
	if options.Tuner != nil {
		concurrency = 0 // or the SDK panics
	}
	return worker.Options{
		MaxConcurrentActivityExecutionSize: concurrency,
		Tuner:                              options.Tuner,
		WorkerStopTimeout:                  options.DrainTime,
		StickyScheduleToStartTimeout:       stickyTimeout,
		// By default the SDK holds heartbeats back for longer than a brew takes.
		MaxHeartbeatThrottleInterval:     heartbeatInterval,
		DefaultHeartbeatThrottleInterval: heartbeatInterval,
		DisableRegistrationAliasing:      true,
		DeploymentOptions:                options.Version.options(),
		Interceptors:                     append([]interceptor.WorkerInterceptor{&border{}}, options.Interceptors...),
		OnFatalError: func(err error) {
			select {
			case fatal <- err:
			default:
			}
		},
	}
}

// Run polls until the context ends. Then it takes no more work, waits up to the
// drain time for running activities, and returns nil. It returns an error if it
// cannot start or loses the server for good.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.worker.Start(); err != nil {
		w.worker.Stop() // the SDK leaves running what it has started
		return fmt.Errorf("worker: %w", err)
	}
	watchCtx, stop := context.WithCancel(ctx)
	defer stop()
	go w.watch(watchCtx)
	select {
	case <-ctx.Done():
		w.worker.Stop()
		return nil
	case err := <-w.fatal: // the SDK has stopped the worker
		return fmt.Errorf("worker: %w", err)
	}
}
