package commands

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
)

// TestUpgradeSideBySide runs a worker with the old code beside one with the new,
// patched code, with orders in flight on both. An order that the new code has
// begun may be offered to the old worker, which cannot continue it and says so. It
// then waits for the new worker. All orders end once the old worker is gone.
func TestUpgradeSideBySide(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	slow := coffee.ServiceConfig{BrewTime: 2 * time.Second}
	stopOld := s.startWorkerWith(coffee.WorkerOptions{Services: slow})
	var ids []string
	place := func(prefix string) {
		for i := range 5 {
			ids = append(ids, fmt.Sprintf("%s-%d", prefix, i))
			s.Place(ctx, ids[len(ids)-1])
		}
	}
	place("old")
	for _, id := range ids {
		s.Await(ctx, id, func(view desk.OrderView) bool { return view.BrewAttempts > 0 })
	}

	// The next release greets customers first: see coffee/upgrade_test.go.
	upgraded := worker.New(sdk(s.conn), coffee.TaskQueue, worker.Options{DisableRegistrationAliasing: true})
	upgraded.RegisterWorkflowWithOptions(func(ctx workflow.Context, input converter.RawValue) (coffee.OrderResult, error) {
		if workflow.GetVersion(ctx, "greet", workflow.DefaultVersion, 1) == 1 {
			ctx := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: coffee.ActivityTimeout})
			if err := workflow.ExecuteActivity(ctx, "greet_customer").Get(ctx, nil); err != nil {
				return coffee.OrderResult{}, err
			}
		}
		return (&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).OrderCoffeeWorkflow(ctx, input)
	}, workflow.RegisterOptions{Name: coffee.WorkflowType})
	upgraded.RegisterActivityWithOptions(func(context.Context) error { return nil }, activity.RegisterOptions{Name: "greet_customer"})
	coffee.NewActivities(coffee.NewServiceFactory(slow, s.Ledger, zerolog.Nop())).Register(upgraded)
	if err := upgraded.Start(); err != nil {
		t.Fatal(err)
	}
	defer upgraded.Stop()
	place("new")
	s.Await(ctx, ids[len(ids)-1], func(view desk.OrderView) bool { return view.BrewAttempts > 0 })
	stopOld()
	place("newest")
	for _, id := range ids {
		s.WantCompleted(ctx, id, 525)
	}
	greeted := map[string]int{}
	for _, id := range ids {
		for _, event := range s.history(ctx, id).GetEvents() {
			if event.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == "greet_customer" {
				batch, _, _ := strings.Cut(id, "-")
				greeted[batch]++
			}
		}
	}
	// Either worker may have begun the orders in the middle.
	if t.Log(greeted); greeted["old"] != 0 || greeted["newest"] != 5 {
		t.Errorf("greeted %v", greeted)
	}
	if balance, err := s.Ledger.Balance(ctx); err != nil || balance.Net() != 525*coffee.Cents(len(ids)) || balance.Charges != int64(len(ids)) {
		t.Errorf("the ledger has %+v, %v", balance, err)
	}
}
