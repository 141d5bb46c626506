// Package historytest has what tests of histories share: the recorded ones, and events and
// answers of a server about order 123.
package historytest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/mocks"
)

// Read returns a recorded history. The directory is coffee/testdata/histories.
func Read(t *testing.T, dir, name string) *historypb.History {
	t.Helper()
	file, err := os.Open(filepath.Join(dir, name+".json"))
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

// Names returns the names of the recorded histories, of which there are nineteen at least.
func Names(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) < 19 {
		t.Fatalf("there are %d histories, %v", len(files), err)
	}
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".json"))
	}
	return names
}

// Described is the server's description of a run of order 123.
func Described(runID string, status enumspb.WorkflowExecutionStatus) *workflowservice.DescribeWorkflowExecutionResponse {
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{
		Execution: &commonpb.WorkflowExecution{WorkflowId: "order-123", RunId: runID}, Status: status,
	}}
}

// Payloads encodes a value as the SDK does by default.
func Payloads(t *testing.T, value any) *commonpb.Payloads {
	t.Helper()
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(value)
	if err != nil {
		t.Fatal(err)
	}
	return payloads
}

// Started is the first event of a workflow with order 123's id.
func Started(workflowType string, input *commonpb.Payloads) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{
		EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
		Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{
			WorkflowType: &commonpb.WorkflowType{Name: workflowType}, WorkflowId: "order-123", Input: input,
		}},
	}
}

// Iterate returns an iterator over events, which it numbers.
func Iterate(events ...*historypb.HistoryEvent) *mocks.HistoryEventIterator {
	iterator := &mocks.HistoryEventIterator{}
	for i, event := range events {
		event.EventId = int64(i) + 1
		iterator.On("HasNext").Return(true).Once()
		iterator.On("Next").Return(event, nil).Once()
	}
	iterator.On("HasNext").Return(false)
	return iterator
}
