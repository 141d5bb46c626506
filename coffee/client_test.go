package coffee

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/mock"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/mocks"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/grpc"

	"example.com/coffee/internal/historytest"
)

// fakeService has the calls that the client makes without the SDK.
type fakeService struct {
	workflowservice.WorkflowServiceClient
	signal func(*workflowservice.SignalWorkflowExecutionRequest) error
}

func (s *fakeService) SignalWorkflowExecution(_ context.Context, request *workflowservice.SignalWorkflowExecutionRequest, _ ...grpc.CallOption) (*workflowservice.SignalWorkflowExecutionResponse, error) {
	return &workflowservice.SignalWorkflowExecutionResponse{}, s.signal(request)
}

// TestPlaceExisting: placing the same order again joins it, and anything else under
// its id is a conflict.
func TestPlaceExisting(t *testing.T) {
	t.Parallel()
	latte := OrderRequest{OrderID: "123", Drink: "latte", Size: "M"}
	large := OrderRequest{OrderID: "123", Drink: "latte", Size: "L"}
	for name, test := range map[string]struct {
		existing *historypb.HistoryEvent
		conflict *OrderRequest // nil: joined
	}{
		"the same":                   {historytest.Started("OrderCoffeeWorkflow", historytest.Payloads(t, latte)), nil},
		"the same in capitals":       {historytest.Started("OrderCoffeeWorkflow", historytest.Payloads(t, OrderRequest{"123", "LATTE", "m"})), nil},
		"another size":               {historytest.Started("OrderCoffeeWorkflow", historytest.Payloads(t, large)), &large},
		"another workflow":           {historytest.Started("SomethingElse", historytest.Payloads(t, latte)), &OrderRequest{}},
		"an order that is not valid": {historytest.Started("OrderCoffeeWorkflow", historytest.Payloads(t, 42)), &OrderRequest{}},
		"an order without input":     {historytest.Started("OrderCoffeeWorkflow", nil), &OrderRequest{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &mocks.Client{}
			server.On("ExecuteWorkflow", mock.Anything, mock.Anything, mock.Anything, mock.Anything).
				Return(nil, serviceerror.NewWorkflowExecutionAlreadyStarted("already started", "request", "run"))
			server.On("GetWorkflowHistory", mock.Anything, "order-123", "run", false, mock.Anything).Return(historytest.Iterate(test.existing))
			placed, err := NewClient(server, "default").Place(t.Context(), latte)
			var conflict *ConflictError
			switch {
			case test.conflict == nil:
				if want := (Placed{Order: latte, RunID: "run", Joined: true}); err != nil || placed != want {
					t.Errorf("got %+v, %v; want %+v", placed, err, want)
				}
			case !errors.As(err, &conflict) || conflict.OrderID != "123" || conflict.Existing != *test.conflict:
				t.Errorf("got %+v, %v; want a conflict with %+v", placed, err, *test.conflict)
			}
		})
	}
}

// TestResultAfterAReset: a reset terminates the run that Result waits for, so Result
// follows the order to its new run. Without a reset, the order is over, and is not asked
// for again.
func TestResultAfterAReset(t *testing.T) {
	t.Parallel()
	terminated := fmt.Errorf("%w: %w", &temporal.WorkflowExecutionError{}, &temporal.TerminatedError{})
	for _, reset := range []bool{true, false} {
		server, first, second := &mocks.Client{}, &mocks.WorkflowRun{}, &mocks.WorkflowRun{}
		first.On("Get", mock.Anything, mock.Anything).Return(terminated)
		first.On("GetRunID").Return("run-1")
		var want OrderResult
		current := "run-1"
		if reset {
			current = "run-2"
			want = OrderResult{OrderID: "123", Status: StatusCompleted}
			second.On("Get", mock.Anything, mock.Anything).Run(func(args mock.Arguments) { *args.Get(1).(*OrderResult) = want }).Return(nil)
		}
		server.On("GetWorkflow", mock.Anything, "order-123", "").Return(first)
		server.On("GetWorkflow", mock.Anything, "order-123", "run-2").Return(second)
		server.On("DescribeWorkflowExecution", mock.Anything, "order-123", "").
			Return(historytest.Described(current, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED), nil)
		result, err := NewClient(server, "default").Result(t.Context(), "123")
		var ended *EndedError
		if result != want || errors.As(err, &ended) == reset {
			t.Errorf("reset is %v: got %+v, %v", reset, result, err)
		}
	}
}

// TestCancelSends: a cancel without a reason has no argument at all, not even a null,
// because a worker in another language may take none.
func TestCancelSends(t *testing.T) {
	t.Parallel()
	var sent []*workflowservice.SignalWorkflowExecutionRequest
	server := &mocks.Client{}
	server.On("WorkflowService").Return(&fakeService{signal: func(request *workflowservice.SignalWorkflowExecutionRequest) error {
		sent = append(sent, request)
		return nil
	}})
	server.On("SignalWorkflow", mock.Anything, "order-123", "", "cancel_order", CancelRequest{Reason: "too slow"}).Return(nil).Once()
	orders := NewClient(server, "shop")
	if err := errors.Join(orders.Cancel(t.Context(), "123", ""), orders.Cancel(t.Context(), "123", "too slow")); err != nil {
		t.Fatal(err)
	}
	server.AssertNumberOfCalls(t, "SignalWorkflow", 1)
	if len(sent) != 1 {
		t.Fatalf("sent %v", sent)
	}
	got := sent[0]
	if got.GetInput() != nil || got.GetSignalName() != "cancel_order" || got.GetWorkflowExecution().GetWorkflowId() != "order-123" ||
		got.GetWorkflowExecution().GetRunId() != "" || got.GetNamespace() != "shop" || got.GetRequestId() == "" {
		t.Errorf("sent %v", got)
	}
}

// TestCancelErrors: the server says "not found" for an order that is over, just as it
// does for one that never existed. If it goes away before it has said which, nobody knows.
func TestCancelErrors(t *testing.T) {
	t.Parallel()
	gone, away := serviceerror.NewNotFound("workflow execution already completed"), serviceerror.NewUnavailable("connection refused")
	for name, test := range map[string]struct {
		describe error
		want     error
	}{
		"over":    {nil, ErrEnded},
		"unknown": {gone, ErrNotFound},
		"away":    {away, away},
	} {
		server := &mocks.Client{}
		server.On("WorkflowService").Return(&fakeService{signal: func(*workflowservice.SignalWorkflowExecutionRequest) error { return gone }})
		server.On("DescribeWorkflowExecution", mock.Anything, "order-123", "").
			Return(historytest.Described("run", enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED), test.describe)
		if err := NewClient(server, "default").Cancel(t.Context(), "123", ""); !errors.Is(err, test.want) || errors.Is(err, ErrNotFound) != (name == "unknown") {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

// TestForeignTextIsCut: a worker in another language may answer with text of any
// length, which is cut to size.
func TestForeignTextIsCut(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1000)
	server := &mocks.Client{}
	server.On("QueryWorkflow", mock.Anything, "order-123", "", "get_status").Return(client.NewValue(historytest.Payloads(t, OrderState{
		OrderID: long, Stage: Stage(long), Drink: Drink(long), Size: Size(long), Pricing: long, CancelReason: long, Failure: long,
	})), nil)
	got, err := NewClient(server, "default").State(t.Context(), "123")
	name, text := long[:64]+"…", long[:200]+"…"
	want := OrderState{OrderID: name, Stage: Stage(name), Drink: Drink(name), Size: Size(name), Pricing: name, CancelReason: text, Failure: text}
	if err != nil || got != want {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

// TestCancelOfABusyWorkflow: a cancel that meets a workflow that is about to end is sent
// again, as the same request, until the server answers or the client gives up.
func TestCancelOfABusyWorkflow(t *testing.T) {
	t.Parallel()
	ctx, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	busy := serviceerror.NewResourceExhausted(enumspb.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW, "workflow is closing")
	requests := map[string]int{}
	c := mocks.NewClient(t)
	c.On("WorkflowService").Return(&fakeService{signal: func(request *workflowservice.SignalWorkflowExecutionRequest) error {
		requests[request.GetRequestId()]++
		if requests[request.GetRequestId()] < 3 {
			return busy
		}
		return nil
	}})
	if err := NewClient(c, "default").Cancel(ctx, "123", ""); err != nil || len(requests) != 1 {
		t.Errorf("got %v, with requests %v", err, requests)
	}

	c = mocks.NewClient(t)
	c.On("WorkflowService").Return(&fakeService{signal: func(*workflowservice.SignalWorkflowExecutionRequest) error {
		giveUp()
		return busy
	}})
	if err := NewClient(c, "default").Cancel(ctx, "123", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("after the client has given up: %v", err)
	}
	c = mocks.NewClient(t)
	c.On("WorkflowService").Return(&fakeService{signal: func(*workflowservice.SignalWorkflowExecutionRequest) error { return busy }})
	synctest.Test(t, func(*testing.T) {
		began := time.Now() // by the bubble's clock
		if err := NewClient(c, "default").Cancel(context.Background(), "123", ""); !errors.Is(err, busy) || time.Since(began) > 11*time.Second {
			t.Errorf("a workflow that stays busy: %v after %v", err, time.Since(began))
		}
	})

	// Another limit is not about this workflow.
	overloaded := serviceerror.NewResourceExhausted(enumspb.RESOURCE_EXHAUSTED_CAUSE_RPS_LIMIT, "too many requests")
	c = mocks.NewClient(t)
	c.On("WorkflowService").Return(&fakeService{signal: func(*workflowservice.SignalWorkflowExecutionRequest) error { return overloaded }})
	if err := NewClient(c, "default").Cancel(context.Background(), "123", ""); !errors.Is(err, overloaded) {
		t.Errorf("a server with too many requests: %v", err)
	}
}
