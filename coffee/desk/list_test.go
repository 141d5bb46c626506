package desk

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/mock"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/mocks"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/historytest"
)

// fakeQueues has the calls about workers that the client makes without the SDK.
type fakeQueues struct {
	workflowservice.WorkflowServiceClient
	taskQueue func(*workflowservice.DescribeTaskQueueRequest) *workflowservice.DescribeTaskQueueResponse
	workers   func(*workflowservice.ListWorkersRequest) (*workflowservice.ListWorkersResponse, error)
}

func (s *fakeQueues) ListWorkers(_ context.Context, request *workflowservice.ListWorkersRequest, _ ...grpc.CallOption) (*workflowservice.ListWorkersResponse, error) {
	return s.workers(request)
}

func (s *fakeQueues) DescribeTaskQueue(_ context.Context, request *workflowservice.DescribeTaskQueueRequest, _ ...grpc.CallOption) (*workflowservice.DescribeTaskQueueResponse, error) {
	return s.taskQueue(request), nil
}

// TestDescribeCancelled: the reason for a cancel is read from the history, which takes
// no worker.
func TestDescribeCancelled(t *testing.T) {
	t.Parallel()
	server := &mocks.Client{}
	server.On("DescribeWorkflowExecution", mock.Anything, "order-123", "").
		Return(historytest.Described("run", enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED), nil)
	server.On("GetWorkflowHistory", mock.Anything, "order-123", "run", false, mock.Anything).Return(historytest.Iterate(
		historytest.Started("OrderCoffeeWorkflow", historytest.Payloads(t, coffee.OrderRequest{OrderID: "123", Drink: "latte", Size: "M"})),
		&historypb.HistoryEvent{
			EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
			Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{
				SignalName: "cancel_order", Input: historytest.Payloads(t, coffee.CancelRequest{Reason: "too slow"}),
			}},
		},
		&historypb.HistoryEvent{
			EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
			Attributes: &historypb.HistoryEvent_WorkflowExecutionCompletedEventAttributes{WorkflowExecutionCompletedEventAttributes: &historypb.WorkflowExecutionCompletedEventAttributes{
				Result: historytest.Payloads(t, coffee.OrderResult{OrderID: "123", Status: coffee.StatusCancelled, AmountCents: 525}),
			}},
		},
	))
	got, err := NewClient(server, "default").Describe(t.Context(), "123")
	want := OrderView{
		OrderState: coffee.OrderState{OrderID: "123", Drink: "latte", Size: "M", Stage: coffee.StageDone, AmountCents: 525, Cancelled: true, CancelReason: "too slow"},
		Status:     coffee.StatusCancelled, CancelRequested: true, WorkerAnswered: true, RunID: "run",
	}
	if err != nil || got != want {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

// TestStatusQuery: the visibility query for each status. A terminated order counts as
// failed, although it never wrote its status.
func TestStatusQuery(t *testing.T) {
	t.Parallel()
	for status, want := range map[coffee.OrderStatus]string{
		"":          "WorkflowType = 'OrderCoffeeWorkflow'",
		"RUNNING":   "WorkflowType = 'OrderCoffeeWorkflow' AND ExecutionStatus = 'Running'",
		"COMPLETED": "WorkflowType = 'OrderCoffeeWorkflow' AND CoffeeStatus = 'COMPLETED'",
		"FAILED": "WorkflowType = 'OrderCoffeeWorkflow' AND (CoffeeStatus = 'FAILED' OR ExecutionStatus = 'Failed'" +
			" OR ExecutionStatus = 'Terminated' OR ExecutionStatus = 'TimedOut')",
		"CANCELLED": "WorkflowType = 'OrderCoffeeWorkflow' AND (CoffeeStatus = 'CANCELLED' OR ExecutionStatus = 'Canceled')",
	} {
		if got := StatusQuery(status); got != want {
			t.Errorf("%q:\ngot  %s\nwant %s", status, got, want)
		}
	}
}

// FuzzStatusQuery: for any status, the query is one of the known ones.
func FuzzStatusQuery(f *testing.F) {
	statuses := []coffee.OrderStatus{"", coffee.StatusRunning, coffee.StatusCompleted, coffee.StatusFailed, coffee.StatusCancelled}
	var known []string
	for _, status := range statuses {
		f.Add(string(status))
		known = append(known, StatusQuery(status))
	}
	f.Add("COMPLETED' OR WorkflowType != '")
	f.Fuzz(func(t *testing.T, status string) {
		if query := StatusQuery(coffee.OrderStatus(status)); !slices.Contains(known, query) {
			t.Fatalf("status %q became %s", status, query)
		}
	})
}
