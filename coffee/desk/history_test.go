package desk

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/historytest"
	"example.com/coffee/timeline"
)

// TestRecordedViews: the view of each recorded order says how it ended, as does the name of
// its history.
func TestRecordedViews(t *testing.T) {
	t.Parallel()
	for _, name := range historytest.Names(t, "../testdata/histories") {
		var view OrderView
		activities := Activities{}
		for _, event := range historytest.Read(t, "../testdata/histories", name).GetEvents() {
			view.read(event, activities.Of(event))
		}
		outcome, _, _ := strings.Cut(name, "_")
		want := map[string]coffee.OrderStatus{"completed": coffee.StatusCompleted, "cancelled": coffee.StatusCancelled, "failed": coffee.StatusFailed, "invalid": ""}[outcome]
		if view.Status != want || view.Stage != coffee.StageDone || outcome == "invalid" && view.Failure == "" {
			t.Errorf("%s: it ended %q in stage %s, failure %q", name, view.Status, view.Stage, view.Failure)
		}
	}
}

func TestHistoryFromJSON(t *testing.T) {
	t.Parallel()
	orderFromJSON := func(r io.Reader) (History, error) {
		read, err := timeline.FromJSON(r)
		if err != nil {
			return History{}, err
		}
		return OfOrder(read)
	}
	file, err := os.Open(filepath.Join("..", "testdata", "histories", "completed.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	history, err := orderFromJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	if history.OrderID != "123" || len(history.Events) != 26 || !history.ReadAt.Equal(history.Events[25].GetEventTime().AsTime()) {
		t.Errorf("order %q, %d events, read at %v", history.OrderID, len(history.Events), history.ReadAt)
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
	if again, err := orderFromJSON(bytes.NewReader(alone)); err != nil || again.OrderID != "123" || again.RunID != history.RunID || !again.ReadAt.Equal(history.ReadAt) {
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
		if _, err := orderFromJSON(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), ".go:") {
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
	activities := Activities{}
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
		if view.read(step.event, activities.Of(step.event)); view.WorkflowTaskFailure != step.want {
			t.Errorf("step %d: %q", i, view.WorkflowTaskFailure)
		}
	}
}

// TestViewOfAnOrderChargedInAnotherLedger: the view of an order that has ended says that
// it was charged in another ledger, rather than that it was charged and was not.
func TestViewOfAnOrderChargedInAnotherLedger(t *testing.T) {
	t.Parallel()
	history := historytest.Read(t, "../testdata/histories", "failed_brew")
	for _, event := range history.GetEvents() {
		for _, payload := range event.GetActivityTaskCompletedEventAttributes().GetResult().GetPayloads() {
			payload.Data = bytes.ReplaceAll(payload.Data, []byte(`{"refunded":true}`), []byte(`{"refunded":false}`))
		}
	}
	var view OrderView
	activities := Activities{}
	for _, event := range history.GetEvents() {
		view.read(event, activities.Of(event))
	}
	if want := "charged in another ledger, and not refunded: this one has no charge of it"; !view.Charged || view.Failure != want {
		t.Errorf("got %+v", view)
	}
}
