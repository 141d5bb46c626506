package replay

import (
	"fmt"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/historytest"
)

// A release wants to greet customers before it charges them. Deployed as it stands,
// greetFirst breaks every order in flight, because its commands are not those in
// their histories. greetPatched asks the history first, so orders in flight go on
// as they began, and new ones are greeted.

func greetFirst(ctx workflow.Context, input converter.RawValue) (coffee.OrderResult, error) {
	if err := greet(ctx); err != nil {
		return coffee.OrderResult{}, err
	}
	return (&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).OrderCoffeeWorkflow(ctx, input)
}

func greetPatched(ctx workflow.Context, input converter.RawValue) (coffee.OrderResult, error) {
	if workflow.GetVersion(ctx, "greet", workflow.DefaultVersion, 1) == 1 {
		if err := greet(ctx); err != nil {
			return coffee.OrderResult{}, err
		}
	}
	return (&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).OrderCoffeeWorkflow(ctx, input)
}

func greet(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Second})
	return workflow.ExecuteActivity(ctx, "greet_customer").Get(ctx, nil)
}

// TestUpgrade deploys the new release at every point of every recorded order at
// which a worker picks up the order, with the history that it has by then.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	for _, name := range historytest.Names(t, "../testdata/histories") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := historytest.Read(t, "../testdata/histories", name)
			end := len(whole.GetEvents())
			moments := []int{end}
			completed := false // a workflow task
			for i, event := range whole.GetEvents() {
				switch event.GetEventType() {
				case enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:
					if completed {
						moments = append(moments, i+1)
					}
				case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
					completed = true
				}
			}
			for _, moment := range moments {
				t.Run(fmt.Sprintf("event %d", moment), func(t *testing.T) {
					history := func() *historypb.History {
						return &historypb.History{Events: whole.GetEvents()[:moment]}
					}
					if err := replayOn(current, history()); err != nil {
						t.Errorf("the same release: %v", err)
					}
					if err := replayOn(greetPatched, history()); err != nil {
						t.Errorf("the patched release: %v", err)
					}
					if err := replayOn(greetFirst, history()); err == nil {
						t.Error("the incompatible release replays: nobody would have noticed")
					}
				})
			}
		})
	}
}
