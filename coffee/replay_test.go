package coffee

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"example.com/coffee/internal/historytest"
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

// silent discards what the SDK logs.
var silent = log.NewStructuredLogger(slog.New(slog.DiscardHandler))

// replay replays the events of order 123 on a workflow.
func replay(w *OrderWorkflow, events []*historypb.HistoryEvent) error {
	replayer := worker.NewWorkflowReplayer()
	replayer.RegisterWorkflowWithOptions(w.OrderCoffeeWorkflow, workflow.RegisterOptions{Name: WorkflowType})
	return replayer.ReplayWorkflowHistoryWithOptions(silent, proto.CloneOf(&historypb.History{Events: events}), worker.ReplayWorkflowHistoryOptions{
		OriginalExecution: workflow.Execution{ID: "order-123", RunID: "run"},
	})
}

// otherPrices differ from the prices in the recorded histories.
type otherPrices struct{}

func (otherPrices) Name() string                        { return "other" }
func (otherPrices) Price(OrderRequest, time.Time) Cents { return 1001 }

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
			events := historytest.Read(t, "testdata/histories", name).GetEvents()
			if err := replay(&OrderWorkflow{Pricing: otherPrices{}}, events); err != nil {
				t.Errorf("orders in flight would stop: patch the workflow with workflow.GetVersion; do not record the history anew\n%v", err)
			}
			for _, event := range events {
				if attributes := event.GetActivityTaskScheduledEventAttributes(); attributes.GetActivityType().GetName() == ActivityRefundCustomer &&
					attributes.GetRetryPolicy().GetMaximumAttempts() != 0 {
					t.Error("the refund gives up after a number of attempts")
				}
			}
			last := events[len(events)-1]
			result, _ := DecodeResult(last.GetWorkflowExecutionCompletedEventAttributes().GetResult())
			if failed := last.GetWorkflowExecutionFailedEventAttributes() != nil; result.Status != status || failed != (status == "") {
				t.Errorf("it ended %q, want %q", result.Status, status)
			}
		})
	}
}

// TestReplayWithAnotherMenu: a drink that is no longer on the menu is still made
// for orders that were accepted before.
func TestReplayWithAnotherMenu(t *testing.T) {
	t.Parallel()
	history := historytest.Read(t, "testdata/histories", "completed")
	input := history.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetInput().GetPayloads()[0]
	input.Data = bytes.ReplaceAll(input.Data, []byte("latte"), []byte("unicorn-latte"))
	if _, err := ParseDrink("unicorn-latte"); err == nil {
		t.Fatal("there is unicorn-latte on the menu")
	}
	if err := replay(&OrderWorkflow{Pricing: otherPrices{}}, history.GetEvents()); err != nil {
		t.Error(err)
	}
}
