package devserver

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
)

// TestEndPolls checks that a server that is told to stop ends requests that wait, and no
// others.
func TestEndPolls(t *testing.T) {
	t.Parallel()
	token := []byte("token")
	for method, test := range map[string]struct {
		waits   any
		answers any
	}{
		"PollWorkflowTaskQueue":           {waits: &workflowservice.PollWorkflowTaskQueueRequest{}},
		"PollActivityTaskQueue":           {waits: &workflowservice.PollActivityTaskQueueRequest{}},
		"PollNexusTaskQueue":              {waits: &workflowservice.PollNexusTaskQueueRequest{}},
		"PollWorkflowExecutionUpdate":     {waits: &workflowservice.PollWorkflowExecutionUpdateRequest{}},
		"PollActivityExecution":           {waits: &workflowservice.PollActivityExecutionRequest{}},
		"PollNexusOperationExecution":     {waits: &workflowservice.PollNexusOperationExecutionRequest{}},
		"GetWorkflowExecutionHistory":     {&workflowservice.GetWorkflowExecutionHistoryRequest{WaitNewEvent: true}, &workflowservice.GetWorkflowExecutionHistoryRequest{}},
		"DescribeActivityExecution":       {&workflowservice.DescribeActivityExecutionRequest{LongPollToken: token}, &workflowservice.DescribeActivityExecutionRequest{}},
		"DescribeNexusOperationExecution": {&workflowservice.DescribeNexusOperationExecutionRequest{LongPollToken: token}, &workflowservice.DescribeNexusOperationExecutionRequest{}},
		"StartWorkflowExecution":          {answers: &workflowservice.StartWorkflowExecutionRequest{}},
	} {
		s := &Server{}
		s.stopping, s.beginStop = context.WithCancel(context.Background())
		s.beginStop()
		info := &grpc.UnaryServerInfo{FullMethod: "/temporal.api.workflowservice.v1.WorkflowService/" + method}
		if test.waits != nil {
			_, err := s.endPolls(context.Background(), test.waits, info, func(ctx context.Context, _ any) (any, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s that waits: %v", method, err)
			}
		}
		if test.answers != nil {
			if _, err := s.endPolls(context.Background(), test.answers, info, func(ctx context.Context, _ any) (any, error) { return nil, ctx.Err() }); err != nil {
				t.Errorf("%s: %v", method, err)
			}
		}
	}
}

// TestWithoutStickyBacklog checks that a task from a sticky queue says nothing of
// others, and one from another queue does.
func TestWithoutStickyBacklog(t *testing.T) {
	t.Parallel()
	for kind, want := range map[enumspb.TaskQueueKind]int64{enumspb.TASK_QUEUE_KIND_STICKY: 0, enumspb.TASK_QUEUE_KIND_NORMAL: 7} {
		request := &workflowservice.PollWorkflowTaskQueueRequest{TaskQueue: &taskqueuepb.TaskQueue{Kind: kind}}
		got, err := withoutStickyBacklog(context.Background(), request, nil, func(context.Context, any) (any, error) {
			return &workflowservice.PollWorkflowTaskQueueResponse{BacklogCountHint: 7}, nil
		})
		if err != nil || got.(*workflowservice.PollWorkflowTaskQueueResponse).GetBacklogCountHint() != want {
			t.Errorf("%s: got %v, %v", kind, got, err)
		}
	}
	// A handler that fails returns a nil of the response's type, as generated code does.
	broken := errors.New("broken")
	for request, response := range map[any]any{
		&workflowservice.PollWorkflowTaskQueueRequest{TaskQueue: &taskqueuepb.TaskQueue{Kind: enumspb.TASK_QUEUE_KIND_STICKY}}: (*workflowservice.PollWorkflowTaskQueueResponse)(nil),
		&workflowservice.StartWorkflowExecutionRequest{}:                                                                       nil,
	} {
		if got, err := withoutStickyBacklog(context.Background(), request, nil, func(context.Context, any) (any, error) { return response, broken }); got != nil || !errors.Is(err, broken) {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

// historyServer returns a handler that answers as the frontend does: when there is
// an event, or without one a second before the deadline.
func historyServer(event time.Time) func(context.Context, any) (any, error) {
	return func(ctx context.Context, request any) (any, error) {
		deadline, ok := ctx.Deadline()
		if !ok || deadline.After(time.Now().Add(longestWait+waitBuffer)) {
			deadline = time.Now().Add(longestWait + waitBuffer)
		}
		// A request that is waiting when the event comes is not told of it: the
		// notification is lost.
		if time.Now().Before(event) {
			select {
			case <-time.After(time.Until(deadline) - waitBuffer):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return &workflowservice.GetWorkflowExecutionHistoryResponse{History: &historypb.History{}, NextPageToken: []byte("token")}, nil
		}
		token := string(request.(*workflowservice.GetWorkflowExecutionHistoryRequest).GetNextPageToken())
		if token != "token" {
			return nil, errors.New("it was asked for something else: " + token)
		}
		return &workflowservice.GetWorkflowExecutionHistoryResponse{History: &historypb.History{Events: []*historypb.HistoryEvent{
			{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED},
		}}}, nil
	}
}

// TestLostNotification checks that a lost notification delays a request by no more
// than the time that it has waited until then, and never by the server's 20 s.
func TestLostNotification(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, after := range []time.Duration{time.Millisecond, firstWait + time.Millisecond, 3 * time.Second} {
			began := time.Now()
			got, err := waitInSlices(historyServer(began.Add(after)))(context.Background(), &workflowservice.GetWorkflowExecutionHistoryRequest{WaitNewEvent: true})
			if err != nil || len(got.(*workflowservice.GetWorkflowExecutionHistoryResponse).GetHistory().GetEvents()) != 1 {
				t.Fatalf("got %v, %v", got, err)
			}
			if took := time.Since(began); took > 2*after+firstWait {
				t.Errorf("an event after %v was seen after %v", after, took)
			}
		}
		// Without an event the request ends when the server would have ended it,
		// with a token for the client to go on with.
		began := time.Now()
		got, err := waitInSlices(historyServer(began.Add(time.Hour)))(context.Background(), &workflowservice.GetWorkflowExecutionHistoryRequest{WaitNewEvent: true})
		if err != nil || string(got.(*workflowservice.GetWorkflowExecutionHistoryResponse).GetNextPageToken()) != "token" {
			t.Errorf("got %v, %v", got, err)
		}
		if took := time.Since(began); took < longestWait || took > 2*longestWait {
			t.Errorf("it took %v", took)
		}
		// Errors reach the client, and so does the end of its own deadline.
		broken := errors.New("broken")
		if _, err := waitInSlices(func(context.Context, any) (any, error) { return nil, broken })(context.Background(), &workflowservice.GetWorkflowExecutionHistoryRequest{}); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := waitInSlices(func(ctx context.Context, _ any) (any, error) { <-ctx.Done(); return nil, ctx.Err() })(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
