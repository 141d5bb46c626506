package replay

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/historytest"
)

// current is this release of the workflow.
var current = (&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).OrderCoffeeWorkflow

// replayOn replays a history of order 123 on any workflow.
func replayOn(w any, history *historypb.History) error {
	return Check(w, desk.History{OrderID: "123", Events: history.GetEvents()})
}

// TestReplayError: a replay says at which event code and history part, and what the
// code does instead, even if that is the last thing that the order did.
func TestReplayError(t *testing.T) {
	t.Parallel()
	greetLast := func(ctx workflow.Context, input converter.RawValue) (coffee.OrderResult, error) {
		result, err := (&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).OrderCoffeeWorkflow(ctx, input)
		if greetErr := greet(ctx); greetErr != nil {
			return coffee.OrderResult{}, greetErr
		}
		return result, err
	}
	withoutPatch := func(ctx workflow.Context, input converter.RawValue) (coffee.OrderResult, error) {
		workflow.GetVersion(ctx, "greet", 2, 3)
		return (&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).OrderCoffeeWorkflow(ctx, input)
	}
	doesNothing := func(workflow.Context, converter.RawValue) (coffee.OrderResult, error) {
		return coffee.OrderResult{}, nil
	}
	panics := func(workflow.Context, converter.RawValue) (coffee.OrderResult, error) {
		panic("the machine is on fire")
	}
	for name, test := range map[string]struct {
		workflow any
		events   int // of the history of a completed order
		want     string
	}{
		"nothing done yet":      {greetFirst, 2, ""},
		"first step":            {greetFirst, 26, "event 7, ActivityTaskScheduled charge_customer: this code does something else there: ScheduleActivityTask greet_customer"},
		"first step, charging":  {greetFirst, 8, "event 7, ActivityTaskScheduled charge_customer: this code does something else there: ScheduleActivityTask greet_customer"},
		"last step, too late":   {greetLast, 26, "event 26, WorkflowExecutionCompleted: this code does something else there: ScheduleActivityTask greet_customer"},
		"last step, in time":    {greetLast, 20, ""},
		"no step":               {doesNothing, 14, "event 7, ActivityTaskScheduled charge_customer: this code does something else there"},
		"a patch taken out":     {withoutPatch, 26, `Workflow code removed support of version -1. for "greet" changeID. The oldest supported version is 2`},
		"a panic":               {panics, 26, "the machine is on fire"},
		"the step in its place": {greetPatched, 26, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := replayOn(test.workflow, &historypb.History{Events: historytest.Read(t, "../testdata/histories", "completed").GetEvents()[:test.events]})
			if test.want == "" && err != nil || test.want != "" && (err == nil || err.Error() != test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if err != nil && !errors.As(err, new(*Error)) {
				t.Errorf("it is a %T", err)
			}
		})
	}
}

// TestReplayOfAnUnansweredTask: an order is asked to cancel, and the task that should see to
// that fails: an operator resets the order to it, or its worker is gone. What the workflow
// would do then is not in the history, whether the order is terminated before or not: it
// still fits.
func TestReplayOfAnUnansweredTask(t *testing.T) {
	t.Parallel()
	failed := func(cause enumspb.WorkflowTaskFailedCause) *historypb.HistoryEvent {
		return &historypb.HistoryEvent{
			EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED,
			Attributes: &historypb.HistoryEvent_WorkflowTaskFailedEventAttributes{WorkflowTaskFailedEventAttributes: &historypb.WorkflowTaskFailedEventAttributes{
				ScheduledEventId: 9, StartedEventId: 10, Cause: cause}},
		}
	}
	for name, event := range map[string]*historypb.HistoryEvent{
		"a reset":     failed(enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW),
		"its failure": failed(enumspb.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND),
		"its timeout": {
			EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
			Attributes: &historypb.HistoryEvent_WorkflowTaskTimedOutEventAttributes{WorkflowTaskTimedOutEventAttributes: &historypb.WorkflowTaskTimedOutEventAttributes{
				ScheduledEventId: 9, StartedEventId: 10}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			replayUnanswered(t, event)
		})
	}
}

// TestReplayUnderWay: an order fits after whichever of its events it is looked at.
func TestReplayUnderWay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../testdata/histories/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %q, %v", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		events := historytest.Read(t, "../testdata/histories", name).GetEvents()
		task := int64(0)
		for n, event := range events {
			if taskCompleted(event) {
				task = event.GetEventId()
			}
			if n+1 < len(events) && isCommandOf(events[n+1], task) {
				continue // a task and its commands come at once
			}
			if err := replayOn(current, &historypb.History{Events: events[:n+1]}); err != nil {
				t.Errorf("%s, after event %d: %v", name, n+1, err)
			}
		}
	}
}

// replayUnanswered replays a history whose last workflow task ended with an event.
func replayUnanswered(t *testing.T, ended *historypb.HistoryEvent) {
	t.Helper()
	events := historytest.Read(t, "../testdata/histories", "cancelled_natively").GetEvents()
	started := slices.IndexFunc(events, func(event *historypb.HistoryEvent) bool {
		return event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
	}) + 2
	if events[started].GetEventType() != enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED {
		t.Fatalf("event %d is %s", started+1, events[started].GetEventType())
	}
	events = slices.Clip(events[:started+1])
	add := func(event *historypb.HistoryEvent) {
		event.EventId = int64(len(events)) + 1
		events = append(events, event)
	}
	if err := replayOn(current, &historypb.History{Events: events}); err != nil {
		t.Errorf("while a worker has it: %v", err)
	}
	add(ended)
	add(&historypb.HistoryEvent{
		EventType:  enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
		Attributes: &historypb.HistoryEvent_WorkflowTaskScheduledEventAttributes{WorkflowTaskScheduledEventAttributes: &historypb.WorkflowTaskScheduledEventAttributes{}},
	})
	if err := replayOn(current, &historypb.History{Events: events}); err != nil {
		t.Errorf("while it runs: %v", err)
	}
	add(&historypb.HistoryEvent{
		EventType:  enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
		Attributes: &historypb.HistoryEvent_WorkflowExecutionTerminatedEventAttributes{WorkflowExecutionTerminatedEventAttributes: &historypb.WorkflowExecutionTerminatedEventAttributes{}},
	})
	if err := replayOn(current, &historypb.History{Events: events}); err != nil {
		t.Errorf("terminated: %v", err)
	}
	if err := replayOn(greetFirst, &historypb.History{Events: events}); err == nil {
		t.Error("terminated, and other code fits")
	}
}
