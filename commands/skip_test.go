package commands

import (
	"context"
	"fmt"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/dial"
	"example.com/coffee/coffee/timeline"
)

// alwaysJams are services that take no time. Each brew jams, so a brew has backoffs of
// 15 s in all.
var alwaysJams = coffee.ServiceConfig{BrewFailureRate: 1}

// TestForeignClientSkipsTime: a client that knows nothing of this program asks for
// skipped time in its start request.
func TestForeignClientSkipsTime(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := openShop(t, true, ledgerFile(t))
	s.startWorkerWith(coffee.WorkerOptions{Services: alwaysJams})
	foreign, err := client.DialContext(ctx, client.Options{HostPort: s.conn.At.Address, Logger: dial.NewLogger(s.Log)})
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()

	request := &workflowservice.StartWorkflowExecutionRequest{
		Namespace:    s.conn.Namespace,
		WorkflowId:   "order-123",
		WorkflowType: &commonpb.WorkflowType{Name: "OrderCoffeeWorkflow"},
		TaskQueue:    &taskqueuepb.TaskQueue{Name: "coffee-orders"},
		Input: &commonpb.Payloads{Payloads: []*commonpb.Payload{{
			Metadata: map[string][]byte{"encoding": []byte("json/plain")},
			Data:     []byte(`{"order_id": "123", "drink": "latte", "size": "M"}`),
		}}},
		Identity:           "a foreign client",
		RequestId:          "a-request",
		TimeSkippingConfig: &commonpb.TimeSkippingConfig{Enabled: true},
	}
	if _, err := foreign.WorkflowService().StartWorkflowExecution(ctx, request); err != nil {
		t.Fatal(err)
	}
	result, err := s.Orders.Result(ctx, "123")
	want := coffee.OrderResult{OrderID: "123", Status: coffee.StatusFailed, Charged: true, AmountCents: 525, Refunded: true, Failure: "brew machine jammed"}
	if err != nil || result != want {
		t.Errorf("got  %+v, %v\nwant %+v", result, err, want)
	}
	history, err := s.Orders.History(ctx, "123")
	if err != nil {
		t.Fatal(err)
	}
	line := timeline.New(history)
	// The backoffs of 1, 2, 4 and 8 seconds were all skipped.
	if len(line.Skips) != 4 || line.Skipped() < 10*time.Second || line.Skipped() > 15*time.Second {
		t.Errorf("%v were skipped, in %d parts", line.Skipped(), len(line.Skips))
	}
	// The times of the attempts are on the order's clock as well.
	for i, began := range []time.Duration{0, 1, 3, 7, 15} {
		began *= time.Second
		name := fmt.Sprintf("attempt %d", i+1)
		for _, row := range line.Rows {
			if at := row.Start.Sub(line.StartedAt); row.Name == name && (row.Estimated || at < began || at > began+5*time.Second) {
				t.Errorf("%s began after %v: %+v", name, at, row)
			}
		}
	}
	s.WantNoBreach(ctx)
}
