// Package around makes interceptors of Temporal workers out of functions.
package around

import (
	"context"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"
)

// Calls is an interceptor with a function around each attempt of an activity, and one around
// each workflow; nil means none. What a function calls next does the work; an activity's works
// in the context that it is given.
type Calls struct {
	interceptor.InterceptorBase
	Activity func(ctx context.Context, next func(context.Context) (any, error)) (any, error)
	Workflow func(ctx workflow.Context, next func() (any, error)) (any, error)
}

// InterceptActivity implements [interceptor.WorkerInterceptor].
func (c *Calls) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	if c.Activity == nil {
		return next
	}
	return &activityCall{interceptor.ActivityInboundInterceptorBase{Next: next}, c}
}

type activityCall struct {
	interceptor.ActivityInboundInterceptorBase
	calls *Calls
}

// ExecuteActivity implements [interceptor.ActivityInboundInterceptor].
func (a *activityCall) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	return a.calls.Activity(ctx, func(ctx context.Context) (any, error) { return a.Next.ExecuteActivity(ctx, in) })
}

// InterceptWorkflow implements [interceptor.WorkerInterceptor].
func (c *Calls) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	if c.Workflow == nil {
		return next
	}
	return &workflowCall{interceptor.WorkflowInboundInterceptorBase{Next: next}, c}
}

type workflowCall struct {
	interceptor.WorkflowInboundInterceptorBase
	calls *Calls
}

// ExecuteWorkflow implements [interceptor.WorkflowInboundInterceptor].
func (w *workflowCall) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	return w.calls.Workflow(ctx, func() (any, error) { return w.Next.ExecuteWorkflow(ctx, in) })
}
