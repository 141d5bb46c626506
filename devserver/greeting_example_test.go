package devserver_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/devserver"
)

// greetLater is a workflow: it waits a while, then has someone greeted. Kill its worker
// at any time, and another one goes on.
func greetLater(ctx workflow.Context, name string) (string, error) {
	if err := workflow.Sleep(ctx, 10*time.Millisecond); err != nil {
		return "", err
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second})
	var greeting string
	err := workflow.ExecuteActivity(ctx, sayHello, name).Get(ctx, &greeting)
	return greeting, err
}

// sayHello is an activity: the place for everything that touches the world. Temporal
// calls it again if it fails.
func sayHello(_ context.Context, name string) (string, error) { return "hello " + name, nil }

// runService runs a server, a worker and a client. With a cluster there is no server
// to start: a worker and a client are given its address.
func runService(ctx context.Context) (string, error) {
	server, err := devserver.Start(ctx, devserver.Options{}) // Options.DatabaseFile keeps what it knows
	if err != nil {
		return "", err
	}
	defer server.Stop()
	options := server.ClientOptions()
	options.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	c, err := client.DialContext(ctx, options)
	if err != nil {
		return "", err
	}
	defer c.Close()

	const taskQueue = "greetings"
	w := worker.New(c, taskQueue, worker.Options{})
	w.RegisterWorkflow(greetLater)
	w.RegisterActivity(sayHello)
	if err := w.Start(); err != nil {
		return "", err
	}
	defer w.Stop()

	// The id is the caller's: starting the same greeting twice starts it once.
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "greeting-world", TaskQueue: taskQueue}, greetLater, "world")
	if err != nil {
		return "", err
	}
	var greeting string
	err = run.Get(ctx, &greeting)
	return greeting, err
}

// The smallest whole service, in one file: a workflow, an activity, a worker, a client
// and a server.
func Example_service() {
	greeting, err := runService(context.Background())
	fmt.Println(greeting, err)
	// Output: hello world <nil>
}
