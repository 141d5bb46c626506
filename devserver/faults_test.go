package devserver

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
)

// TestStorageFaults: calls of the database fail, and workflows end all the same.
func TestStorageFaults(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	server, said := startTalking(t, Options{StorageFaults: 7})
	c := connect(t, waysIn["socket"](server))
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
