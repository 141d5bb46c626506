package devserver_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"

	"example.com/coffee/devserver"
)

// remind waits for a day, rings somebody who does not answer the first calls, and
// returns how much time has passed.
func remind(ctx workflow.Context) (time.Duration, error) {
	began := workflow.Now(ctx)
	if err := workflow.Sleep(ctx, 24*time.Hour); err != nil {
		return 0, err
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: time.Minute,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Hour, BackoffCoefficient: 2, MaximumInterval: 4 * time.Hour},
	})
	err := workflow.ExecuteActivity(ctx, ring).Get(ctx, nil)
	return workflow.Now(ctx).Sub(began), err
}

// ring fails twice.
func ring(ctx context.Context) error {
	if attempt := activity.GetInfo(ctx).Attempt; attempt < 3 {
		return fmt.Errorf("nobody answered call %d", attempt)
	}
	return nil
}

// TestSkipTime runs a workflow that takes more than a day, on a real server.
func TestSkipTime(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	server, err := devserver.Start(ctx, devserver.Options{TimeSkipping: true})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	got, err := runReminder(ctx, server)
	// A day, and backoffs of one and two hours.
	if want := 27 * time.Hour; err != nil || got < want || got > want+time.Minute {
		t.Errorf("it took %v, %v", got, err)
	}
}

// TestSkipTimeNotAllowed checks that a server does not allow it unless it is asked to.
func TestSkipTimeNotAllowed(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	server, err := devserver.Start(ctx, devserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	got, err := runReminder(ctx, server)
	var refused *serviceerror.Unimplemented
	if !errors.As(err, &refused) {
		t.Errorf("it took %v, %v", got, err)
	}
}

func runReminder(ctx context.Context, server *devserver.Server) (took time.Duration, err error) {
	options := server.ClientOptions()
	options.ConnectionOptions.DialOptions = slices.Concat([]grpc.DialOption{devserver.SkipTime()}, options.ConnectionOptions.DialOptions)
	options.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	c, err := client.DialContext(ctx, options)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	w := worker.New(c, "reminders", worker.Options{})
	w.RegisterWorkflow(remind)
	w.RegisterActivity(ring)
	if err := w.Start(); err != nil {
		return 0, err
	}
	defer w.Stop()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: "reminders"}, remind)
	if err != nil {
		return 0, err
	}
	err = run.Get(ctx, &took)
	return took, err
}
