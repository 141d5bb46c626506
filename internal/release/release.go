// Package release has releases of the workflow that do not exist yet. The tour, chaos
// runs and tests roll them out on servers of their own, and show what becomes of the orders
// under way.
package release

import (
	"context"
	_ "embed"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/replay"
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

// The names of the releases.
const (
	Broken  = "broken"  // stops every order under way
	Patched = "patched" // goes on with all of them
)

// Named returns a release; nil if there is none of that name.
func Named(name string) Release {
	return map[string]Release{Broken: greetFirst, Patched: greetPatched}[name]
}

// Register registers the workflow, and its new activity.
func (r Release) Register(registry worker.Registry) {
	registry.RegisterWorkflowWithOptions(r, workflow.RegisterOptions{Name: coffee.WorkflowType})
	registry.RegisterActivityWithOptions(func(context.Context) error { return nil }, activity.RegisterOptions{Name: "greet_customer"})
}

// Replay replays a history, like [replay.Check].
func (r Release) Replay(history desk.History) error { return replay.Check(r, history) }

// Source is the code of this package, which the tour shows.
//
//go:embed release.go
var Source string
