package devserver

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// TestEndPolls: when the server is told to stop, who waits is sent home, and who
// does something is not.
func TestEndPolls(t *testing.T) {
	t.Parallel()
	for _, request := range []any{
		&workflowservice.PollWorkflowTaskQueueRequest{}, &workflowservice.PollActivityTaskQueueRequest{}, &workflowservice.PollNexusTaskQueueRequest{},
		&workflowservice.PollWorkflowExecutionUpdateRequest{}, &workflowservice.GetWorkflowExecutionHistoryRequest{WaitNewEvent: true},
	} {
		s := &Server{}
		s.stopping, s.beginStop = context.WithCancel(context.Background())
		_, err := s.endPolls(context.Background(), request, nil, func(ctx context.Context, _ any) (any, error) {
			s.beginStop()
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%T: %v", request, err)
		}
	}
	for _, request := range []any{&workflowservice.StartWorkflowExecutionRequest{}, &workflowservice.GetWorkflowExecutionHistoryRequest{}} {
		s := &Server{}
		s.stopping, s.beginStop = context.WithCancel(context.Background())
		s.beginStop()
		if _, err := s.endPolls(context.Background(), request, nil, func(ctx context.Context, _ any) (any, error) { return nil, ctx.Err() }); err != nil {
			t.Errorf("%T: %v", request, err)
		}
	}
}

// historyServer answers as the frontend does: when there is an event, or a second
// before the deadline without one.
func historyServer(event time.Time) func(context.Context, any) (any, error) {
	return func(ctx context.Context, request any) (any, error) {
		deadline, ok := ctx.Deadline()
		if !ok || deadline.After(time.Now().Add(longestWait+waitBuffer)) {
			deadline = time.Now().Add(longestWait + waitBuffer)
		}
		// Whoever waits when the event comes does not hear of it: it is lost.
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

// TestLostNotification: a notification that is lost delays who waits by no more
// than the time waited until then, and never by the server's 20 s.
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
		// Without an event it ends when the server would have ended it, with
		// something for the client to go on with.
		began := time.Now()
		got, err := waitInSlices(historyServer(began.Add(time.Hour)))(context.Background(), &workflowservice.GetWorkflowExecutionHistoryRequest{WaitNewEvent: true})
		if err != nil || string(got.(*workflowservice.GetWorkflowExecutionHistoryResponse).GetNextPageToken()) != "token" {
			t.Errorf("got %v, %v", got, err)
		}
		if took := time.Since(began); took < longestWait || took > 2*longestWait {
			t.Errorf("it took %v", took)
		}
		// An error is the client's, and so is its deadline.
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
