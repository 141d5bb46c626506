package telemetry

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"

	"example.com/coffee/coffee"
)

// forgetAfter is when a worker forgets a refund that it has tried and not tried again:
// by then another worker has. It is longer than the pause between two attempts.
const forgetAfter = 2 * coffee.MaxRefundBackoff

// refunds knows the refunds that this worker has tried and that are still due.
type refunds struct {
	interceptor.WorkerInterceptorBase
	now func() time.Time

	mu      sync.Mutex
	pending map[string]pendingRefund // by workflow id
}

type pendingRefund struct {
	since, tried time.Time
}

// Refunds returns an interceptor for a worker, which measures how many refunds it has
// tried that are still due, and how long the oldest of them has been due.
func (m *Metrics) Refunds() (interceptor.WorkerInterceptor, error) {
	r := &refunds{now: time.Now, pending: map[string]pendingRefund{}}
	count, err := m.meter.Int64ObservableGauge("coffee_refunds_pending",
		metric.WithDescription("Refunds that this worker has tried and that are still due."))
	if err != nil {
		return nil, err
	}
	age, err := m.meter.Float64ObservableGauge("coffee_refunds_pending_age", metric.WithUnit("s"),
		metric.WithDescription("How long the oldest of them has been due; 0 if there is none."))
	if err != nil {
		return nil, err
	}
	_, err = m.meter.RegisterCallback(func(_ context.Context, observer metric.Observer) error {
		pending, oldest := r.due()
		observer.ObserveInt64(count, int64(pending))
		observer.ObserveFloat64(age, oldest.Seconds())
		return nil
	}, count, age)
	return r, err
}

// due returns how many refunds are due, and how long the oldest has been.
func (r *refunds) due() (pending int, oldest time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for id, refund := range r.pending {
		if now.Sub(refund.tried) > forgetAfter {
			delete(r.pending, id)
			continue
		}
		oldest = max(oldest, now.Sub(refund.since))
	}
	return len(r.pending), oldest
}

// InterceptActivity implements [interceptor.WorkerInterceptor].
func (r *refunds) InterceptActivity(ctx context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &refundInterceptor{ActivityInboundInterceptorBase: interceptor.ActivityInboundInterceptorBase{Next: next}, refunds: r}
}

type refundInterceptor struct {
	interceptor.ActivityInboundInterceptorBase
	refunds *refunds
}

// ExecuteActivity implements [interceptor.ActivityInboundInterceptor].
func (i *refundInterceptor) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	info := activity.GetInfo(ctx)
	if info.ActivityType.Name != coffee.ActivityRefundCustomer {
		return i.Next.ExecuteActivity(ctx, in)
	}
	i.refunds.try(info.WorkflowExecution.ID, info.ScheduledTime)
	result, err := i.Next.ExecuteActivity(ctx, in)
	if err == nil || isFinal(err) {
		i.refunds.done(info.WorkflowExecution.ID)
	}
	return result, err
}

func (r *refunds) try(workflowID string, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending[workflowID] = pendingRefund{since: since, tried: r.now()}
}

func (r *refunds) done(workflowID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pending, workflowID)
}

// isFinal reports whether Temporal will not try an activity again.
func isFinal(err error) bool {
	var failed *temporal.ApplicationError
	return errors.As(err, &failed) && failed.NonRetryable()
}
