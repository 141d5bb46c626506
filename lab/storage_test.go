//go:build unix && !noserver

package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee/dial"
	"example.com/coffee/devserver"
)

// lockedBuffer is a buffer that a server can write to while a test reads it.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestStorageFaults: calls of the database fail, and workflows end all the same.
func TestStorageFaults(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	options, err := injected("storage=7", nil)
	if err != nil {
		t.Fatal(err)
	}
	var said lockedBuffer
	serverOptions := devserver.Options{Log: zerolog.New(&said).Level(zerolog.WarnLevel)}
	options.Server(&serverOptions)
	server, err := devserver.Start(ctx, serverOptions)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	c, err := client.DialContext(ctx, client.Options{HostPort: server.Address(), Namespace: client.DefaultNamespace, Logger: dial.NewLogger(zerolog.Nop())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w := worker.New(c, "orders", worker.Options{})
	w.RegisterWorkflow(threeSteps)
	w.RegisterActivity(step)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for n := 0; n < 8 || !strings.Contains(said.String(), "fault injection error"); n++ {
		id := fmt.Sprint("order-", n)
		// A start that failed may have been made.
		_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: "orders"}, threeSteps)
		for err != nil && ctx.Err() == nil {
			_, err = c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: "orders"}, threeSteps)
		}
		for err = c.GetWorkflow(ctx, id, "").Get(ctx, nil); err != nil; err = c.GetWorkflow(ctx, id, "").Get(ctx, nil) {
			if ctx.Err() != nil {
				t.Fatalf("order %d: %v", n, err)
			}
		}
	}
}

func threeSteps(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	for range 3 {
		if err := workflow.ExecuteActivity(ctx, step).Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

func step(context.Context) error { return nil }
