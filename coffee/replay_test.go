package coffee

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/worker"
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

	"cancelled_before_charge_patched":   StatusCancelled,
	"completed_without_receipt_patched": StatusCompleted,

	"completed_skipping_jams":  StatusCompleted,
	"cancelled_skipping_jams":  StatusCancelled,
	"failed_skipping_backoffs": StatusFailed,

	"cancelled_after_reset":           StatusCancelled,
	"cancelled_after_reset_unpatched": StatusCancelled,
	"completed_after_reset":           StatusCompleted,
	"failed_after_refund":             StatusFailed,
	"invalid":                         "",
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
	return replayOn((&OrderWorkflow{Pricing: otherPrices{}}).OrderCoffeeWorkflow, history)
}

// otherPrices differ from the prices in the recorded histories.
type otherPrices struct{}

func (otherPrices) Name() string                        { return "other" }
func (otherPrices) Price(OrderRequest, time.Time) Cents { return 1001 }

// replayOn replays a history of order 123 on any workflow.
func replayOn(w any, history *historypb.History) error {
	replayer := worker.NewWorkflowReplayer()
	replayer.RegisterWorkflowWithOptions(w, workflow.RegisterOptions{Name: WorkflowType})
	return replayer.ReplayWorkflowHistoryWithOptions(NewSDKLogger(zerolog.Nop()), history, worker.ReplayWorkflowHistoryOptions{
		OriginalExecution: workflow.Execution{ID: WorkflowID("123")},
	})
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
				t.Error(err)
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
	if _, err := decodeOrder(WorkflowID("123"), converter.NewRawValue(input)); err == nil {
		t.Fatal("there is unicorn-latte on the menu")
	}
	if err := replay(history); err != nil {
		t.Error(err)
	}
}
