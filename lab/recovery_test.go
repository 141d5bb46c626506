//go:build unix && !noserver

package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/devserver"
	"example.com/coffee/lab/simulation"
)

// The instants at which a worker can die.
const (
	instantBefore    = "before"    // it has the task, and has done nothing
	instantCommitted = "committed" // the activity is done, and the server does not know
	instantReturned  = "returned"  // the server has the result
)

// failAt returns the option that watches what a worker is given to do, and kills its node at an
// instant of an activity.
func failAt(node *simulation.Node, activity, instant string) grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if err := invoke(ctx, method, request, response, conn, options...); err != nil {
			return err
		}
		var tasks []*workflowservice.PollActivityTaskQueueResponse
		switch response := response.(type) {
		case *workflowservice.PollActivityTaskQueueResponse:
			tasks = append(tasks, response)
		case *workflowservice.RespondWorkflowTaskCompletedResponse:
			tasks = response.GetActivityTasks()
		}
		for _, task := range tasks {
			switch {
			case task.GetActivityType().GetName() != activity:
			case instant == instantBefore:
				node.Kill()
				return status.Error(codes.Unavailable, "killed") // or the worker would begin
			default: // its next report is that of the activity
				node.Light(simulation.Fuse{Report: true, Kept: instant == instantReturned})
			}
		}
		return nil
	})
}

// TestWorkerDies kills the worker at each dangerous instant of each step. The next worker
// finishes the order correctly.
func TestWorkerDies(t *testing.T) {
	for _, activity := range []string{
		coffee.ActivityChargeCustomer, coffee.ActivityBrewCoffee, coffee.ActivitySendReceipt, coffee.ActivityRefundCustomer,
	} {
		for _, instant := range []string{instantBefore, instantCommitted, instantReturned} {
			t.Run(activity+"/"+instant, func(t *testing.T) {
				inVirtualTime(t, false, func(ctx context.Context, s *shop) { s.workerDies(ctx, activity, instant) })
			})
		}
	}
}

func (s *shop) workerDies(ctx context.Context, activity, instant string) {
	cancelled := activity == coffee.ActivityRefundCustomer
	services := coffee.ServiceConfig{}
	if cancelled {
		services.BrewTime = 9 * time.Second // there is time to cancel
	}
	node := s.Node("first")
	s.workOn(node, coffee.WorkerOptions{Services: services}, failAt(node, activity, instant))
	s.Place(ctx, "123")
	if cancelled {
		s.Await(ctx, "123", func(view desk.OrderView) bool { return view.BrewAttempts > 0 })
		if err := s.Orders.Cancel(ctx, "123", ""); err != nil {
			s.T.Fatal(err)
		}
	}
	select {
	case <-node.Life().Done():
	case <-ctx.Done():
		s.T.Fatal("the worker did not reach the instant")
	}
	want := "[charge]"
	if activity == coffee.ActivityChargeCustomer && instant == instantBefore {
		want = "[]"
	}
	if cancelled && instant != instantBefore {
		want = "[charge refund]"
	}
	if got := s.Kinds(ctx, "123"); got != want {
		s.T.Errorf("when the worker died, the ledger had %s; want %s", got, want)
	}

	s.work(coffee.WorkerOptions{})
	if cancelled {
		s.wantRefunded(ctx, "123")
	} else {
		s.WantCompleted(ctx, "123", 525)
	}
	s.WantNoBreach(ctx)
}

// TestCancelInASkippedBackoff: a cancel arrives while the server skips the backoff of a brew.
// The order is cancelled and refunded, whichever comes first.
func TestCancelInASkippedBackoff(t *testing.T) {
	inVirtualTime(t, true, func(ctx context.Context, s *shop) {
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
			described, err := s.Conn.DescribeWorkflowExecution(ctx, coffee.WorkflowID(id), "")
			if err != nil {
				s.T.Error(err)
				return nil
			}
			for _, pending := range described.GetPendingActivities() {
				if pending.GetState() == enumspb.PENDING_ACTIVITY_STATE_SCHEDULED && pending.GetNextAttemptScheduleTime() != nil {
					inBackoff.Add(1)
				}
			}
			if err := s.Orders.Cancel(ctx, id, "changed my mind"); err != nil {
				s.T.Error(err)
			}
			return nil
		}
		s.workOn(s.Node("worker"), coffee.WorkerOptions{Services: coffee.ServiceConfig{BrewFailureRate: 1, BrewTime: 300 * time.Millisecond}},
			grpc.WithChainUnaryInterceptor(cancelAfterJam))
		// Whether the server has skipped the backoff by then is a race, so try often.
		orders := 0
		for ; orders < 100 && inBackoff.Load() < 5; orders++ {
			id.Store(fmt.Sprint(orders))
			s.Place(ctx, fmt.Sprint(orders))
			s.wantRefunded(ctx, fmt.Sprint(orders))
		}
		if n := inBackoff.Load(); n < 5 {
			s.T.Errorf("of %d cancels only %d arrived in a backoff", orders, n)
		}
		s.WantNoBreach(ctx)
	}, devserver.SkipTime())
}

// TestLostSearchAttribute: orders that were accepted with the search attribute end although
// it is removed, or replaced by one of another type, while they are brewing.
func TestLostSearchAttribute(t *testing.T) {
	for name, kind := range map[string]enumspb.IndexedValueType{
		"removed": enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED,
		"an Int":  enumspb.INDEXED_VALUE_TYPE_INT,
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, false, func(ctx context.Context, s *shop) {
				s.work(coffee.WorkerOptions{Services: coffee.ServiceConfig{BrewTime: 3 * time.Second}})
				s.Place(ctx, "123")
				s.Await(ctx, "123", func(view desk.OrderView) bool { return view.Stage == coffee.StageBrewing })
				operator := s.Conn.OperatorService()
				_, err := operator.RemoveSearchAttributes(ctx, &operatorservice.RemoveSearchAttributesRequest{
					Namespace: client.DefaultNamespace, SearchAttributes: []string{coffee.SearchAttributeStatus}})
				if err == nil && kind != enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED {
					_, err = operator.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
						Namespace: client.DefaultNamespace, SearchAttributes: map[string]enumspb.IndexedValueType{coffee.SearchAttributeStatus: kind}})
				}
				if err != nil {
					t.Fatal(err)
				}
				s.WantCompleted(ctx, "123", 525)
				s.WantNoBreach(ctx)
				var other *desk.AttributeTypeError
				_, err = s.Orders.List(ctx, desk.ListOptions{Status: coffee.StatusCompleted})
				if kind != enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED && !errors.As(err, &other) {
					t.Errorf("the list of completed orders: %v", err)
				}
				if _, err := s.Orders.List(ctx, desk.ListOptions{}); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
