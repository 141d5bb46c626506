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
)

// What is counted of orders, with the metrics handler that Temporal gives to workflows
// and activities. It does nothing unless the client's options have one, and nothing in a
// replay. Prometheus adds "_total" to the names. No metric has an id in a label: there
// would be as many of them as orders.
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

// Counter returns an interceptor for a worker, which counts what happens to its orders.
func Counter() interceptor.WorkerInterceptor { return &counter{} }

type counter struct {
	interceptor.WorkerInterceptorBase
}

// InterceptWorkflow implements [interceptor.WorkerInterceptor].
func (*counter) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &countedWorkflow{interceptor.WorkflowInboundInterceptorBase{Next: next}}
}

type countedWorkflow struct {
	interceptor.WorkflowInboundInterceptorBase
}

// ExecuteWorkflow implements [interceptor.WorkflowInboundInterceptor].
func (w *countedWorkflow) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	result, err := w.Next.ExecuteWorkflow(ctx, in)
	if result, ok := result.(coffee.OrderResult); ok && err == nil {
		countEnd(ctx, result)
	}
	return result, err
}

// InterceptActivity implements [interceptor.WorkerInterceptor].
func (*counter) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &countedActivity{interceptor.ActivityInboundInterceptorBase{Next: next}}
}

type countedActivity struct {
	interceptor.ActivityInboundInterceptorBase
}

// ExecuteActivity implements [interceptor.ActivityInboundInterceptor].
func (a *countedActivity) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	result, err := a.Next.ExecuteActivity(ctx, in)
	var failed *temporal.ApplicationError
	errors.As(err, &failed)
	jammed := failed != nil && failed.Type() == coffee.ErrorTypeJammed
	if activity.GetInfo(ctx).ActivityType.Name == coffee.ActivityBrewCoffee && (failed == nil || jammed) {
		countBrew(ctx, jammed)
	}
	return result, err
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
