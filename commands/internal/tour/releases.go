package tour

import (
	"context"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee"
)

// The next release is to greet customers before anything else. Two ways to write it:
// one that breaks every order under way, and one that does not.

// greetFirst does not do again what the history of an order under way says it did.
func greetFirst(ctx workflow.Context, input converter.RawValue) (coffee.OrderResult, error) {
	if err := greet(ctx); err != nil {
		return coffee.OrderResult{}, err
	}
	return today.OrderCoffeeWorkflow(ctx, input)
}

// greetPatched asks the history first. An order that began without a greeting goes on
// without one.
func greetPatched(ctx workflow.Context, input converter.RawValue) (coffee.OrderResult, error) {
	if workflow.GetVersion(ctx, "greet", workflow.DefaultVersion, 1) == 1 {
		if err := greet(ctx); err != nil {
			return coffee.OrderResult{}, err
		}
	}
	return today.OrderCoffeeWorkflow(ctx, input)
}

func greet(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: coffee.ActivityTimeout})
	return workflow.ExecuteActivity(ctx, "greet_customer").Get(ctx, nil)
}

// today is the workflow as it is.
var today = &coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}

// Release is the workflow of a release.
type Release func(workflow.Context, converter.RawValue) (coffee.OrderResult, error)

// Releases are the ways to write the next release, by name.
var Releases = map[string]Release{
	"broken":  greetFirst,
	"patched": greetPatched,
}

// RegisterRelease registers the workflow of a release, and its new activity.
func RegisterRelease(registry worker.Registry, release Release) {
	registry.RegisterWorkflowWithOptions(release, workflow.RegisterOptions{Name: coffee.WorkflowType})
	registry.RegisterActivityWithOptions(func(context.Context) error { return nil }, activity.RegisterOptions{Name: "greet_customer"})
}
