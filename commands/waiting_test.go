package commands

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/timeline"
	"example.com/coffee/commands/internal/waiting"
	"example.com/coffee/internal/sleep"
)

var noWorker = desk.Waiting{Diagnosis: desk.DiagnosisNoWorker, Queue: coffee.TaskQueue}

// TestHint: what an order waits for is said once, and no worker is called for while
// workers reconnect.
func TestHint(t *testing.T) {
	t.Parallel()
	const (
		none = "order 7 is waiting: no worker is polling the task queue coffee-orders; start one with: coffee worker"
		full = "order 7 is waiting: all workers are busy; it goes on when one has room"
		away = "the server does not answer: waiting for it; order 7 is recorded there"
		back = "the server is back; its workers reconnect within seconds"
	)
	nothing, busy := desk.Waiting{}, desk.Waiting{Diagnosis: desk.DiagnosisBusy}
	unavailable := serviceerror.NewUnavailable("gone")
	var h waiting.Hinter
	for _, step := range []struct {
		second time.Duration
		waits  desk.Waiting
		err    error
		want   string
	}{
		{2, nothing, nil, ""},
		{4, nothing, unavailable, away},
		{6, nothing, context.DeadlineExceeded, ""},
		{8, noWorker, nil, back},
		{10, noWorker, nil, ""},
		{28, noWorker, nil, ""},
		{29, noWorker, nil, none},
		{31, noWorker, nil, ""},
		{33, nothing, errors.New("something else"), ""},
		{34, busy, nil, full},
		{35, nothing, nil, ""},
		{36, busy, nil, ""},
		{37, nothing, unavailable, away},
		{39, nothing, nil, "the server is back"},
	} {
		if got := h.Hint(time.Unix(0, 0).Add(step.second*time.Second), step.waits, step.err, "7"); got != step.want {
			t.Errorf("after %d s: %q, want %q", step.second, got, step.want)
		}
	}
	var fresh waiting.Hinter
	if got := fresh.Hint(time.Now(), noWorker, nil, "7"); got != none {
		t.Errorf("without a worker: %q", got)
	}
}

// TestAskers: whoever is asked why an order waits says the same.
func TestAskers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, diagnosis := range []desk.Diagnosis{desk.DiagnosisNoWorker, desk.DiagnosisNoVersion, desk.DiagnosisLeaving, desk.DiagnosisBusy, desk.DiagnosisPaused, desk.DiagnosisReconnecting, ""} {
		waits := desk.Waiting{Diagnosis: diagnosis, Queue: coffee.TaskQueue, Deployment: "coffee", BuildID: "v1", Paused: "by ann"}
		view := desk.OrderView{OrderState: coffee.OrderState{OrderID: "7"}, Status: coffee.StatusRunning, StartedAt: now.Add(-time.Minute), Waiting: waits.String()}
		drawn := timeline.New(desk.History{ReadAt: now, Waiting: waits.String(), Events: []*historypb.HistoryEvent{
			{EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, EventTime: timestamppb.New(now.Add(-time.Minute))},
		}})
		for asker, says := range map[string]string{
			"the client": new(waiting.Hinter).Hint(now, waits, nil, "7"), "status": string(describeOrder(view)), "watch": string(drawList([]desk.OrderView{view}, 1, waits, 200)), "the timeline": drawn.Rows[0].Outcome,
		} {
			if diagnosis != "" && !strings.Contains(says, waits.String()) {
				t.Errorf("%s: %s does not say %q:\n%s", diagnosis, asker, waits, says)
			}
			if waits.Diagnosis != desk.DiagnosisNoWorker && strings.Contains(says, "no worker is polling") {
				t.Errorf("%s: %s says\n%s", diagnosis, asker, says)
			}
		}
	}
}

// TestWaitingOnAServer: what a real server tells of workers and pauses is understood.
func TestWaitingOnAServer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	eventually := func(id, want string) {
		t.Helper()
		for {
			waits, err := s.Orders.Waiting(ctx, id)
			if err == nil && waits.String() == want {
				return
			}
			if !sleep.For(ctx, 50*time.Millisecond) {
				t.Fatalf("order %s: %q, %v; want %q", id, waits, err, want)
			}
		}
	}
	s.Place(ctx, "first")
	eventually("first", noWorker.String())
	worker := func(buildID string, services coffee.ServiceConfig) (stop func()) {
		return s.startWorkerWith(coffee.WorkerOptions{Services: services, Concurrency: 1,
			Version: versioned(buildID, workflow.VersioningBehaviorPinned)})
	}
	stop := worker("v1", coffee.ServiceConfig{BrewTime: 9 * time.Second})
	eventually("first", "no worker without a version is polling the task queue coffee-orders, and no version is current; make one current with: coffee rollout")
	plan := rolloutPlan{deployment: "coffee", buildID: "v1", percent: 100}
	s.rollOut(ctx, plan)
	s.Await(ctx, "first", func(view desk.OrderView) bool { return view.Stage == coffee.StageBrewing && view.BrewAttempts == 1 })
	s.Place(ctx, "second")
	eventually("second", "all workers are busy; it goes on when one has room")
	described, err := s.conn.DescribeWorkflowExecution(ctx, coffee.WorkflowID("first"), "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.conn.WorkflowService().PauseActivity(ctx, &workflowservice.PauseActivityRequest{
		Namespace: s.conn.Namespace, Execution: described.GetWorkflowExecutionInfo().GetExecution(), Identity: "ann", Reason: "descaling",
		Activity: &workflowservice.PauseActivityRequest_Id{Id: described.GetPendingActivities()[0].GetActivityId()},
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually("first", "paused by ann: descaling")
	stop()
	eventually("second", "the workers there have been told to stop; start one with: coffee worker")
	worker("v2", coffee.ServiceConfig{})
	eventually("second", "no worker of version v1 is polling the task queue coffee-orders; start one with: coffee worker --build-id v1")
}
