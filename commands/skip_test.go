package commands

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/dial"
	"example.com/coffee/coffee/timeline"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/connect"
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
	foreign, err := client.DialContext(ctx, client.Options{HostPort: s.conn.At.Address, Logger: dial.NewLogger(s.log)})
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
	result, err := s.orders.Result(ctx, "123")
	want := coffee.OrderResult{OrderID: "123", Status: coffee.StatusFailed, Charged: true, AmountCents: 525, Refunded: true, Failure: "brew machine jammed"}
	if err != nil || result != want {
		t.Errorf("got  %+v, %v\nwant %+v", result, err, want)
	}
	history, err := s.orders.History(ctx, "123")
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
	s.wantNoBreach(ctx)
}

// TestCancelInASkippedBackoff: a cancel arrives while the server skips the backoff of
// a brew. The order is cancelled and refunded, whichever comes first.
func TestCancelInASkippedBackoff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := openShop(t, true, ledgerFile(t))

	// The worker learns that the server has recorded a jam only after the order was
	// cancelled, so the backoff has just begun.
	var id atomic.Value
	var inBackoff atomic.Int32
	cancelAfterJam := func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		err := invoke(ctx, method, request, reply, conn, options...)
		if _, jam := request.(*workflowservice.RespondActivityTaskFailedRequest); !jam || err != nil {
			return err
		}
		id := id.Swap("").(string)
		if id == "" { // it was cancelled at its first jam
			return nil
		}
		described, err := s.conn.DescribeWorkflowExecution(ctx, coffee.WorkflowID(id), "")
		if err != nil {
			t.Error(err)
			return nil
		}
		for _, pending := range described.GetPendingActivities() {
			if pending.GetState() == enumspb.PENDING_ACTIVITY_STATE_SCHEDULED && pending.GetNextAttemptScheduleTime() != nil {
				inBackoff.Add(1)
			}
		}
		if err := s.orders.Cancel(ctx, id, "changed my mind"); err != nil {
			t.Error(err)
		}
		return nil
	}
	slow := client.Options{HostPort: s.conn.At.Address, Namespace: s.conn.Namespace}
	slow.ConnectionOptions.DialOptions = []grpc.DialOption{grpc.WithChainUnaryInterceptor(cancelAfterJam)}
	conn, err := connect.Open(ctx, &app.App{Log: s.log, Platform: s.log}, connect.Options{Options: slow})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w, err := coffee.NewWorker(conn.Client, coffee.WorkerOptions{Ledger: s.ledger, Services: coffee.ServiceConfig{BrewFailureRate: 1, BrewTime: 300 * time.Millisecond}, Log: s.log})
	if err != nil {
		t.Fatal(err)
	}
	working, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.Run(working) }()

	// Whether the server has skipped the backoff by then is a race, so try often.
	orders := 0
	for ; orders < 100 && inBackoff.Load() < 5; orders++ {
		id.Store(fmt.Sprint(orders))
		s.place(ctx, fmt.Sprint(orders))
		result, err := s.orders.Result(ctx, fmt.Sprint(orders))
		want := coffee.OrderResult{OrderID: fmt.Sprint(orders), Status: coffee.StatusCancelled, Charged: true, AmountCents: 525, Refunded: true}
		if err != nil || result != want {
			t.Errorf("got  %+v, %v\nwant %+v", result, err, want)
		}
	}
	if n := inBackoff.Load(); n < 5 {
		t.Errorf("of %d cancels only %d arrived in a backoff", orders, n)
	}
	s.wantNoBreach(ctx)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
