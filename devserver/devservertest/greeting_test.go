package devservertest_test

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/devserver/devservertest"
)

// greetLater is a workflow: it waits for a month, then has somebody greeted. Kill its worker
// at any time, and another one goes on.
func greetLater(ctx workflow.Context, name string) (string, error) {
	if err := workflow.Sleep(ctx, 30*24*time.Hour); err != nil {
		return "", err
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second})
	var greeting string
	err := workflow.ExecuteActivity(ctx, sayHello, name).Get(ctx, &greeting)
	return greeting, err
}

// sayHello is an activity: the place for everything that touches the world. Temporal calls it
// again if it fails.
func sayHello(_ context.Context, name string) (string, error) { return "hello " + name, nil }

// TestGreeting runs the workflow on a server of its own, and skips the month.
func TestGreeting(t *testing.T) {
	s := devservertest.Start(t)
	s.Worker("greetings", func(r worker.Registry) {
		r.RegisterWorkflow(greetLater)
		r.RegisterActivity(sayHello)
	})
	run, err := s.SkipTime().ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: "greetings"}, greetLater, "you")
	if err != nil {
		t.Fatal(err)
	}
	var greeting string
	if err := run.Get(t.Context(), &greeting); err != nil || greeting != "hello you" {
		t.Errorf("the greeting is %q, %v", greeting, err)
	}
}
