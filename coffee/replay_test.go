package coffee

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"
)

// outcomes maps each recorded history to how its order ended; empty means that the
// workflow failed.
//
// A change to the workflow that cannot replay them would break orders that are in
// flight when it is deployed. To record histories of new outcomes:
//
//	go test ./commands -run TestRecordHistories -record
var outcomes = map[string]OrderStatus{
	"completed":                 StatusCompleted,
	"completed_after_jams":      StatusCompleted,
	"completed_without_receipt": StatusCompleted,
	"completed_cancel_too_late": StatusCompleted,
	"cancelled_before_charge":   StatusCancelled,
	"cancelled_while_charging":  StatusCancelled,
	"cancelled_while_brewing":   StatusCancelled,
	"cancelled_natively":        StatusCancelled,
	"failed_charge":             StatusFailed,
	"failed_brew":               StatusFailed,
	"failed_duplicate":          StatusFailed,

	"completed_skipping_jams":  StatusCompleted,
	"cancelled_skipping_jams":  StatusCancelled,
	"failed_skipping_backoffs": StatusFailed,

	"cancelled_after_reset": StatusCancelled,
	"completed_after_reset": StatusCompleted,
	"failed_after_refund":   StatusFailed,
	"invalid":               "",
	"invalid_after_reset":   "",
}

func readHistory(t *testing.T, name string) *historypb.History {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", "histories", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	history, err := client.HistoryFromJSON(file, client.HistoryJSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return history
}

// replay replays a history of order 123 on the current workflow.
func replay(history *historypb.History) error {
	return (&OrderWorkflow{Pricing: otherPrices{}}).Replay(History{OrderID: "123", Events: history.GetEvents()})
}

// otherPrices differ from the prices in the recorded histories.
type otherPrices struct{}

func (otherPrices) Name() string                        { return "other" }
func (otherPrices) Price(OrderRequest, time.Time) Cents { return 1001 }

// replayOn replays a history of order 123 on any workflow.
func replayOn(w any, history *historypb.History) error {
	return ReplayOn(w, History{OrderID: "123", Events: history.GetEvents()})
}

// TestReplay replays the history of each outcome on the current workflow, with a
// price list other than the recorded one.
func TestReplay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "histories", "*.json"))
	if err != nil || len(files) != len(outcomes) {
		t.Errorf("there are %d histories of %d outcomes, %v", len(files), len(outcomes), err)
	}
	for name, status := range outcomes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			history := readHistory(t, name)
			if err := replay(history); err != nil {
				t.Errorf("orders in flight would stop: patch the workflow with workflow.GetVersion; do not record the history anew\n%v", err)
			}
			var view OrderView
			reader := historyReader{view: &view, scheduled: map[int64]string{}}
			for _, event := range history.GetEvents() {
				reader.read(event)
				if attributes := event.GetActivityTaskScheduledEventAttributes(); attributes.GetActivityType().GetName() == ActivityRefundCustomer &&
					attributes.GetRetryPolicy().GetMaximumAttempts() != 0 {
					t.Error("the refund gives up after a number of attempts")
				}
			}
			last := history.GetEvents()[len(history.GetEvents())-1]
			if status == "" {
				if last.GetEventType() != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED || view.Failure == "" {
					t.Errorf("it ends with %v, failure %q", last.GetEventType(), view.Failure)
				}
			} else if view.Status != status || view.Stage != StageDone {
				t.Errorf("it ended %s in stage %s, want %s", view.Status, view.Stage, status)
			}
		})
	}
}

// TestReplayWithAnotherMenu: a drink that is no longer on the menu is still made
// for orders that were accepted before.
func TestReplayWithAnotherMenu(t *testing.T) {
	t.Parallel()
	history := readHistory(t, "completed")
	input := history.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetInput().GetPayloads()[0]
	input.Data = bytes.ReplaceAll(input.Data, []byte("latte"), []byte("unicorn-latte"))
	if _, err := ParseDrink("unicorn-latte"); err == nil {
		t.Fatal("there is unicorn-latte on the menu")
	}
	if err := replay(history); err != nil {
		t.Error(err)
	}
}

// TestReplayError: a replay says at which event code and history part, and what the
// code does instead, even if that is the last thing that the order did.
func TestReplayError(t *testing.T) {
	t.Parallel()
	greetLast := func(ctx workflow.Context, input converter.RawValue) (OrderResult, error) {
		result, err := (&OrderWorkflow{Pricing: StandardPricing{}}).OrderCoffeeWorkflow(ctx, input)
		if greetErr := greet(ctx); greetErr != nil {
			return OrderResult{}, greetErr
		}
		return result, err
	}
	withoutPatch := func(ctx workflow.Context, input converter.RawValue) (OrderResult, error) {
		workflow.GetVersion(ctx, "greet", 2, 3)
		return (&OrderWorkflow{Pricing: StandardPricing{}}).OrderCoffeeWorkflow(ctx, input)
	}
	doesNothing := func(workflow.Context, converter.RawValue) (OrderResult, error) { return OrderResult{}, nil }
	panics := func(workflow.Context, converter.RawValue) (OrderResult, error) { panic("the machine is on fire") }
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
			err := replayOn(test.workflow, &historypb.History{Events: readHistory(t, "completed").GetEvents()[:test.events]})
			if test.want == "" && err != nil || test.want != "" && (err == nil || err.Error() != test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if err != nil && !errors.As(err, new(*ReplayError)) {
				t.Errorf("it is a %T", err)
			}
		})
	}
}

// TestReplayOfAnUnansweredTask: an order is asked to cancel, and an operator resets it to
// the task that should see to that. What the workflow would do then is not in the
// history, whether the order is terminated before or not: it still fits.
func TestReplayOfAnUnansweredTask(t *testing.T) {
	t.Parallel()
	events := readHistory(t, "cancelled_natively").GetEvents()
	started := slices.IndexFunc(events, func(event *historypb.HistoryEvent) bool {
		return event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
	}) + 2
	if events[started].GetEventType() != enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED {
		t.Fatalf("event %d is %s", started+1, events[started].GetEventType())
	}
	events = events[:started+1]
	add := func(event *historypb.HistoryEvent) {
		event.EventId = int64(len(events)) + 1
		events = append(events, event)
	}
	add(&historypb.HistoryEvent{
		EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED,
		Attributes: &historypb.HistoryEvent_WorkflowTaskFailedEventAttributes{WorkflowTaskFailedEventAttributes: &historypb.WorkflowTaskFailedEventAttributes{
			ScheduledEventId: int64(started), StartedEventId: int64(started) + 1, Cause: enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW,
		}},
	})
	add(&historypb.HistoryEvent{
		EventType:  enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
		Attributes: &historypb.HistoryEvent_WorkflowTaskScheduledEventAttributes{WorkflowTaskScheduledEventAttributes: &historypb.WorkflowTaskScheduledEventAttributes{}},
	})
	if err := replay(&historypb.History{Events: events}); err != nil {
		t.Errorf("while it runs: %v", err)
	}
	add(&historypb.HistoryEvent{
		EventType:  enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
		Attributes: &historypb.HistoryEvent_WorkflowExecutionTerminatedEventAttributes{WorkflowExecutionTerminatedEventAttributes: &historypb.WorkflowExecutionTerminatedEventAttributes{}},
	})
	if err := replay(&historypb.History{Events: events}); err != nil {
		t.Errorf("terminated: %v", err)
	}
	if err := replayOn(greetFirst, &historypb.History{Events: events}); err == nil {
		t.Error("terminated, and other code fits")
	}
}

func TestHistoryFromJSON(t *testing.T) {
	t.Parallel()
	file, err := os.Open(filepath.Join("testdata", "histories", "completed.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	history, err := HistoryFromJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	if history.OrderID != "123" || len(history.Events) != 26 || !history.ReadAt.Equal(history.Events[25].GetEventTime().AsTime()) {
		t.Errorf("order %q, %d events, read at %v", history.OrderID, len(history.Events), history.ReadAt)
	}
	if err := (&OrderWorkflow{Pricing: StandardPricing{}}).Replay(history); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	var parts struct {
		Events []json.RawMessage `json:"events"`
	}
	if err := json.Unmarshal(text, &parts); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(parts.Events) // as the Web UI sorts them
	alone, err := json.Marshal(parts.Events)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := HistoryFromJSON(bytes.NewReader(alone)); err != nil || again.OrderID != "123" || again.RunID != history.RunID || !again.ReadAt.Equal(history.ReadAt) {
		t.Errorf("the events alone, the newest first: order %q, %v", again.OrderID, err)
	}
	for text, want := range map[string]string{
		"":       "not the history of a workflow in JSON",
		"[1, 2]": "not the history of a workflow in JSON",
		"{}":     "no events",
		`{"events": [{"workflowExecutionStartedEventAttributes": {"input": {"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": {"order_id": "1"}}]}}}]}`: "its payloads are decoded",
		`{"events": []}`: "no events",
		`{"events": [{"eventId": "1", "eventType": "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED", "workflowExecutionStartedEventAttributes": {"workflowType": {"name": "Tea"}}}]}`: `of a workflow "Tea", not of an order`,
	} {
		if _, err := HistoryFromJSON(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), ".go:") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestWorkflowTaskFailure: a view says why the last worker could not go on, until one
// can.
func TestWorkflowTaskFailure(t *testing.T) {
	t.Parallel()
	failed := func(cause enumspb.WorkflowTaskFailedCause) *historypb.HistoryEvent {
		return &historypb.HistoryEvent{
			EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED,
			Attributes: &historypb.HistoryEvent_WorkflowTaskFailedEventAttributes{WorkflowTaskFailedEventAttributes: &historypb.WorkflowTaskFailedEventAttributes{
				Cause: cause, Failure: &failurepb.Failure{Message: "it does not fit"},
			}},
		}
	}
	completed := &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED}
	var view OrderView
	reader := historyReader{view: &view, scheduled: map[int64]string{}}
	for i, step := range []struct {
		event *historypb.HistoryEvent
		want  string
	}{
		{failed(enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW), ""},
		{failed(enumspb.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR), "it does not fit"},
		{completed, ""},
		{failed(enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND), ""},
		{failed(enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE), "it does not fit"},
		{&historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED}, ""},
	} {
		if reader.read(step.event); view.WorkflowTaskFailure != step.want {
			t.Errorf("step %d: %q", i, view.WorkflowTaskFailure)
		}
	}
}

// TestViewOfAnOrderChargedInAnotherLedger: the view of an order that has ended says that
// it was charged in another ledger, rather than that it was charged and was not.
func TestViewOfAnOrderChargedInAnotherLedger(t *testing.T) {
	t.Parallel()
	history := readHistory(t, "failed_brew")
	for _, event := range history.GetEvents() {
		for _, payload := range event.GetActivityTaskCompletedEventAttributes().GetResult().GetPayloads() {
			payload.Data = bytes.ReplaceAll(payload.Data, []byte(`{"refunded":true}`), []byte(`{"refunded":false}`))
		}
	}
	var view OrderView
	reader := historyReader{view: &view, scheduled: map[int64]string{}}
	for _, event := range history.GetEvents() {
		reader.read(event)
	}
	if want := "charged in another ledger, and not refunded: this one has no charge of it"; !view.Charged || view.Failure != want {
		t.Errorf("got %+v", view)
	}
}
