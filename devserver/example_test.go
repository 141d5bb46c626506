package devserver_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/devserver"
)

func greet(_ workflow.Context, name string) (string, error) { return "hello " + name, nil }

// Run a whole Temporal server inside a test or a program.
func ExampleStart() {
	ctx := context.Background()
	server, err := devserver.Start(ctx, devserver.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Stop()

	options := server.ClientOptions()
	options.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	c, err := client.DialContext(ctx, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	w := worker.New(c, "greetings", worker.Options{})
	w.RegisterWorkflow(greet)
	if err := w.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer w.Stop()

	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: "greetings"}, greet, "world")
	if err != nil {
		fmt.Println(err)
		return
	}
	var greeting string
	if err := run.Get(ctx, &greeting); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(greeting)
	// Output: hello world
}

// nag waits for a month, and says how long that was.
func nag(ctx workflow.Context) (time.Duration, error) {
	began := workflow.Now(ctx)
	err := workflow.Sleep(ctx, 30*24*time.Hour)
	return workflow.Now(ctx).Sub(began).Truncate(time.Hour), err
}

// Test a workflow that waits for a month, in a moment, against a real server.
func ExampleSkipTime() {
	ctx := context.Background()
	server, err := devserver.Start(ctx, devserver.Options{TimeSkipping: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Stop()

	options := server.ClientOptions()
	options.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	options.ConnectionOptions.DialOptions = slices.Insert(options.ConnectionOptions.DialOptions, 0, devserver.SkipTime())
	c, err := client.DialContext(ctx, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	w := worker.New(c, "nagging", worker.Options{})
	w.RegisterWorkflow(nag)
	if err := w.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer w.Stop()

	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: "nagging"}, nag)
	if err != nil {
		fmt.Println(err)
		return
	}
	var took time.Duration
	if err := run.Get(ctx, &took); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(took)
	// Output: 720h0m0s
}
