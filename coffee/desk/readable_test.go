package desk

import (
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	sdkpb "go.temporal.io/api/sdk/v1"

	"example.com/coffee/coffee"
)

// TestCheckReadable: a history is unreadable if the order depends on what is encrypted in it,
// and not if somebody else can have added that.
func TestCheckReadable(t *testing.T) {
	t.Parallel()
	encrypted := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("binary/encrypted"), "encryption-problem": []byte("unreadable: so it is")}}
	list := &commonpb.Payloads{Payloads: []*commonpb.Payload{encrypted}}
	memo := &commonpb.Memo{Fields: map[string]*commonpb.Payload{"order": encrypted}}
	header := &commonpb.Header{Fields: map[string]*commonpb.Payload{"trace": encrypted}}
	started := func(a *historypb.WorkflowExecutionStartedEventAttributes) *historypb.HistoryEvent {
		return &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{WorkflowExecutionStartedEventAttributes: a}}
	}
	for name, test := range map[string]struct {
		event    *historypb.HistoryEvent
		readable bool
	}{
		"the input":           {started(&historypb.WorkflowExecutionStartedEventAttributes{Input: list}), false},
		"a memo and a header": {started(&historypb.WorkflowExecutionStartedEventAttributes{Memo: memo, Header: header}), true},
		"a summary":           {&historypb.HistoryEvent{UserMetadata: &sdkpb.UserMetadata{Summary: encrypted}}, true},
		"a signal": {&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
			WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{Input: list}}}, true},
		"why a task failed": {&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowTaskFailedEventAttributes{
			WorkflowTaskFailedEventAttributes: &historypb.WorkflowTaskFailedEventAttributes{Failure: &failurepb.Failure{EncodedAttributes: encrypted}}}}, true},
		"why a step failed": {&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ActivityTaskFailedEventAttributes{
			ActivityTaskFailedEventAttributes: &historypb.ActivityTaskFailedEventAttributes{Failure: &failurepb.Failure{EncodedAttributes: encrypted}}}}, false},
		"the result": {&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionCompletedEventAttributes{
			WorkflowExecutionCompletedEventAttributes: &historypb.WorkflowExecutionCompletedEventAttributes{Result: list}}}, false},
	} {
		err := CheckReadable("1", []*historypb.HistoryEvent{{}, test.event})
		if (err == nil) != test.readable || coffee.IsUnreadable(err) == test.readable {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && err.Error() != "order 1: its history is unreadable: so it is" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
