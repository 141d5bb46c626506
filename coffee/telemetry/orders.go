package telemetry

import (
	"context"
	"errors"
	"strings"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/around"
)

// What is counted of orders, with the metrics handler that Temporal gives to workflows
// and activities. It counts nothing in a replay. Prometheus adds "_total" to the names. No
// metric has an id in a label: there would be as many of them as orders.
const (
	// metricOrders counts orders that have ended, by their outcome.
	metricOrders = "coffee_orders"
	// metricChargedCents and metricRefundedCents count the money of orders that have
	// ended. The ledger has the truth, this has the rate.
	metricChargedCents  = "coffee_charged_cents"
	metricRefundedCents = "coffee_refunded_cents"
	// metricBrewAttempts counts starts of the machine, metricBrewJams those that jammed.
	metricBrewAttempts = "coffee_brew_attempts"
	metricBrewJams     = "coffee_brew_jams"

	// labelOutcome is the status of an order in lower case.
	labelOutcome = "outcome"
)

// Types returns the names of the workflow and of its activities. Other programs may leave
// work of any other type on the task queue; labels of metrics should have no such names.
func Types() []string {
	return []string{coffee.WorkflowType, coffee.ActivityChargeCustomer, coffee.ActivityBrewCoffee, coffee.ActivitySendReceipt, coffee.ActivityRefundCustomer, coffee.ActivityDeliverCoffee, coffee.ActivityRecallOrder}
}

// counter returns an interceptor for a worker, which counts what happens to its orders, and
// tells of the refunds that it tries.
func counter(refunds *refunds) interceptor.WorkerInterceptor {
	return &around.Calls{
		Workflow: func(ctx workflow.Context, next func() (any, error)) (any, error) {
			result, err := next()
			if result, ok := result.(coffee.OrderResult); ok && err == nil {
				countEnd(ctx, result)
			}
			return result, err
		},
		Activity: func(ctx context.Context, next func(context.Context) (any, error)) (any, error) {
			info := activity.GetInfo(ctx)
			refund := info.ActivityType.Name == coffee.ActivityRefundCustomer
			if refund {
				refunds.try(info.WorkflowExecution.ID, info.ScheduledTime)
			}
			result, err := next(ctx)
			var failed *temporal.ApplicationError
			errors.As(err, &failed)
			jammed := failed != nil && failed.Type() == coffee.ErrorTypeJammed
			switch {
			case info.ActivityType.Name == coffee.ActivityBrewCoffee && (failed == nil || jammed):
				countBrew(ctx, jammed)
			case refund && (err == nil || failed != nil && failed.NonRetryable()): // it is not tried again
				refunds.done(info.WorkflowExecution.ID)
			}
			return result, err
		},
	}
}

// countEnd counts an order that has ended.
func countEnd(ctx workflow.Context, result coffee.OrderResult) {
	metrics := workflow.GetMetricsHandler(ctx)
	metrics.WithTags(map[string]string{labelOutcome: strings.ToLower(string(result.Status))}).Counter(metricOrders).Inc(1)
	var charged, refunded coffee.Cents
	if result.Charged {
		charged = result.AmountCents
	}
	if result.Refunded {
		refunded = result.AmountCents
	}
	// Even if it is 0, so that the metric is there before it increases.
	metrics.Counter(metricChargedCents).Inc(int64(charged))
	metrics.Counter(metricRefundedCents).Inc(int64(refunded))
}

// countBrew counts an attempt to brew.
func countBrew(ctx context.Context, jammed bool) {
	metrics := activity.GetMetricsHandler(ctx)
	metrics.Counter(metricBrewAttempts).Inc(1)
	jams := int64(0)
	if jammed {
		jams = 1
	}
	metrics.Counter(metricBrewJams).Inc(jams)
}
