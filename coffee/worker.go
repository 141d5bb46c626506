package coffee

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
)

// WorkerOptions configure a [Worker].
type WorkerOptions struct {
	// Services configures the simulated services.
	Services ServiceConfig
	// Pricing computes the price of new orders; nil means [StandardPricing].
	Pricing PricingStrategy
	// Ledger records payments. It is required.
	Ledger Ledger
	// Orders reads what was recorded of an order before a reset. It must be able to
	// decode it; nil means a client on the worker's own connection.
	Orders *Client
	// Index is as in [OrderWorkflow].
	Index func() Index
	// Concurrency is how many activities may run at once; 0 means 200.
	Concurrency int
	// DrainTime is how long running activities may take to finish after the worker
	// was told to stop; 0 means that it does not wait for them.
	DrainTime time.Duration
	// Version is the release that the worker runs, and what happens to its orders when
	// another one is rolled out; the zero value means that it has none.
	Version worker.DeploymentOptions
	// Register, unless nil, registers another release of the workflow in place of
	// [OrderWorkflow]. The activities are those of this package all the same.
	Register func(worker.Registry)
	// Tuner, unless nil, says how many tasks the worker takes at once, in place of
	// Concurrency.
	Tuner worker.WorkerTuner
	// Interceptors see each workflow and each attempt of an activity.
	Interceptors []interceptor.WorkerInterceptor
	// Log receives what happens to the orders; the zero value is a disabled logger.
	Log zerolog.Logger
}

// DefaultConcurrency is how many activities a worker runs at once by default.
const DefaultConcurrency = 200

// DefaultDeployment is the name of the deployment that workers with a version belong to.
const DefaultDeployment = "coffee"

// Worker polls the task queue and runs workflows and activities.
type Worker struct {
	worker worker.Worker
	fatal  chan error
}

// NewWorker returns a worker that has not started yet. The client may be one that wraps
// the SDK's, and has a method Unwrap that returns that. NewWorker returns an error if there
// is no ledger or a service setting is invalid.
func NewWorker(c client.Client, options WorkerOptions) (*Worker, error) {
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
	if wrapper, ok := c.(interface{ Unwrap() client.Client }); ok {
		c = wrapper.Unwrap() // the SDK takes no other
	}
	fatal := make(chan error, 1)
	w := worker.New(c, TaskQueue, sdkOptions(options, fatal))
	if options.Register != nil {
		options.Register(w)
	} else {
		(&OrderWorkflow{Pricing: options.Pricing, Index: options.Index}).Register(w)
	}
	activities := NewActivities(NewServiceFactory(options.Services, options.Ledger, options.Log))
	activities.Orders = options.Orders
	activities.Register(w)
	return &Worker{worker: w, fatal: fatal}, nil
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
		DeploymentOptions:                options.Version,
		Interceptors:                     options.Interceptors,
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
	select {
	case <-ctx.Done():
		w.worker.Stop()
		return nil
	case err := <-w.fatal: // the SDK has stopped the worker
		return fmt.Errorf("worker: %w", err)
	}
}
