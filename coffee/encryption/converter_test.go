package encryption

import (
	"errors"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// converters returns those of a client, for a workflow.
func converters(k *Keyset, options Options, namespace, workflowID string) (converter.DataConverter, converter.FailureConverter) {
	var to client.Options
	k.Configure(&to, options)
	at := converter.WorkflowSerializationContext{Namespace: namespace, WorkflowID: workflowID}
	return converter.WithDataConverterSerializationContext(to.DataConverter, at),
		converter.WithFailureConverterSerializationContext(to.FailureConverter, at)
}

// TestConverter: what a client sends is for one workflow of one namespace. A raw value that
// cannot be read stays encrypted, and says why; any other value is an error.
func TestConverter(t *testing.T) {
	t.Parallel()
	k := newKeyset(t)
	data, _ := converters(k, Options{}, "shop", "order-1")
	sent, err := data.ToPayloads("latte", converter.NewRawValue(payload(t, "raw")))
	if err != nil {
		t.Fatal(err)
	}
	if text := protojson.Format(sent); strings.Count(text, metadataKeyID) != 2 || strings.Contains(text, "ImxhdHRlIg==") {
		t.Errorf("it is %s", text)
	}
	var drink string
	if err := data.FromPayloads(sent, &drink); err != nil || drink != "latte" {
		t.Errorf("it is %q, %v", drink, err)
	}
	for _, other := range []struct{ namespace, workflow string }{{"bank", "order-1"}, {"shop", "order-2"}} {
		data, _ := converters(k, Options{}, other.namespace, other.workflow)
		if err := data.FromPayloads(sent, &drink); !errors.Is(err, errElsewhere) {
			t.Errorf("%v reads it: %v", other, err)
		}
		var raw converter.RawValue
		if err := data.FromPayloads(sent, &raw); err != nil || !isEncrypted(raw.Payload()) || string(raw.Payload().GetMetadata()[metadataProblem]) != errElsewhere.Error() {
			t.Errorf("raw, it is %v, %v", raw.Payload(), err)
		}
		if err := data.FromPayloads(sent); err != nil {
			t.Errorf("nobody asked for it: %v", err)
		}
	}
}

// TestMemoIsNeverPlain: the SDK stores a memo as it is if it cannot be encrypted.
func TestMemoIsNeverPlain(t *testing.T) {
	t.Parallel()
	data, _ := converters(newKeyset(t), Options{}, "shop", "order-1")
	defer func() {
		if recover() == nil {
			t.Error("there was an error, which the SDK does not look at")
		}
	}()
	_, _ = data.ToPayload(converter.NewRawValue(&commonpb.Payload{Metadata: map[string][]byte{"\xff": nil}}))
}

// TestRequired: a workflow of a worker that takes only what is encrypted reads nothing else.
// Clients do, and activities, of which an attempt would be lost.
func TestRequired(t *testing.T) {
	t.Parallel()
	data, _ := converters(nil, Options{Required: true}, "shop", "order-1")
	sent, err := data.ToPayloads("latte") // without a keyset, so it is plain
	if err != nil {
		t.Fatal(err)
	}
	activity := converter.WithDataConverterSerializationContext(data, converter.ActivitySerializationContext{Namespace: "shop", WorkflowID: "order-1"})
	for _, data := range []converter.DataConverter{data, activity} {
		var drink string
		if err := data.FromPayloads(sent, &drink); err != nil || drink != "latte" {
			t.Errorf("it is %q, %v", drink, err)
		}
	}
	for name, run := range map[string]any{
		"typed": func(_ workflow.Context, drink string) (string, error) { return drink, nil },
		"raw": func(_ workflow.Context, drink converter.RawValue) (string, error) {
			panic(string(drink.Payload().GetMetadata()[metadataProblem]))
		},
	} {
		var suite testsuite.WorkflowTestSuite
		env := suite.NewTestWorkflowEnvironment()
		env.SetDataConverter(data)
		env.RegisterWorkflowWithOptions(run, workflow.RegisterOptions{Name: name})
		env.ExecuteWorkflow(name, "latte")
		if err := env.GetWorkflowError(); err == nil || !strings.Contains(err.Error(), errPlain.Error()) {
			t.Errorf("%s: it ends with %v", name, err)
		}
	}
}

// TestFailures: why something failed is for those with the keyset, except for why it could
// not be read. A failure of a child can be read as that of its parent.
func TestFailures(t *testing.T) {
	t.Parallel()
	k := newKeyset(t)
	_, child := converters(k, Options{}, "shop", "child-1")
	_, parent := converters(k, Options{}, "shop", "parent-1")
	_, other := converters(k, Options{}, "bank", "parent-1")
	failure := child.ErrorToFailure(temporal.NewApplicationErrorWithCause("secret", "Jammed", errors.New("secret cause"), "secret detail"))
	if text := protojson.Format(failure); strings.Contains(text, "secret") || strings.Contains(text, "c2VjcmV0") || strings.Count(text, metadataWorkflow) != 3 {
		t.Errorf("it is %s", text)
	}
	err := parent.FailureToError(proto.CloneOf(failure))
	var detail string
	var application *temporal.ApplicationError
	if !errors.As(err, &application) || application.Message() != "secret" || application.Details(&detail) != nil || detail != "secret detail" {
		t.Errorf("the parent reads %v, %q", err, detail)
	}
	if err := other.FailureToError(proto.CloneOf(failure)); strings.Contains(err.Error(), "secret") {
		t.Errorf("another namespace reads %v", err)
	}
	plain := parent.ErrorToFailure(missingKey(k, "42", nil))
	if plain.GetMessage() != "unreadable: it is encrypted with key 42, which is not in the keyset" || plain.GetEncodedAttributes() != nil || plain.GetStackTrace() != "" {
		t.Errorf("why it could not be read is %v", plain)
	}
	if text := protojson.Format(plain); strings.Contains(text, k.Path()) || !strings.Contains(text, errorTypeUnreadable) {
		t.Errorf("it is %s", text)
	}
}

// TestReader: lists, descriptions and histories are decrypted, each payload at its place.
// What cannot be read stays encrypted and says why.
func TestReader(t *testing.T) {
	t.Parallel()
	k := newKeyset(t)
	at := func(workflow string) *commonpb.Payload {
		t.Helper()
		p, err := k.encrypt(payload(t, "latte"), place{"shop", workflow})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	list := func(workflow string) *commonpb.Payloads {
		return &commonpb.Payloads{Payloads: []*commonpb.Payload{at(workflow)}}
	}
	execution := func(id string) *commonpb.WorkflowExecution { return &commonpb.WorkflowExecution{WorkflowId: id} }
	memo := func(workflow string) *commonpb.Memo {
		return &commonpb.Memo{Fields: map[string]*commonpb.Payload{"order": at(workflow)}}
	}
	history := func(event *historypb.HistoryEvent) proto.Message {
		return &historypb.History{Events: []*historypb.HistoryEvent{event}}
	}
	_, child := converters(k, Options{}, "shop", "child-1")
	for name, test := range map[string]struct {
		message  proto.Message
		readable bool
	}{
		"its input": {history(&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
			WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{Input: list("order-1")}}}), true},
		"another's input": {history(&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
			WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{Input: list("order-2"), WorkflowId: "order-2"}}}), false},
		"the memo from its parent": {history(&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
			WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{Memo: memo("parent-1"), ParentWorkflowExecution: execution("parent-1")}}}), true},
		"a child's input": {history(&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_StartChildWorkflowExecutionInitiatedEventAttributes{
			StartChildWorkflowExecutionInitiatedEventAttributes: &historypb.StartChildWorkflowExecutionInitiatedEventAttributes{WorkflowId: "child-1", Input: list("child-1")}}}), true},
		"a child's result": {history(&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ChildWorkflowExecutionCompletedEventAttributes{
			ChildWorkflowExecutionCompletedEventAttributes: &historypb.ChildWorkflowExecutionCompletedEventAttributes{WorkflowExecution: execution("child-1"), Result: list("child-1")}}}), true},
		"a child's failure": {history(&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ChildWorkflowExecutionFailedEventAttributes{
			ChildWorkflowExecutionFailedEventAttributes: &historypb.ChildWorkflowExecutionFailedEventAttributes{Failure: child.ErrorToFailure(errors.New("latte"))}}}), true},
		"a signal to another": {history(&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_SignalExternalWorkflowExecutionInitiatedEventAttributes{
			SignalExternalWorkflowExecutionInitiatedEventAttributes: &historypb.SignalExternalWorkflowExecutionInitiatedEventAttributes{WorkflowExecution: execution("order-2"), Input: list("order-2")}}}), true},
		"a summary": {history(&historypb.HistoryEvent{UserMetadata: &sdkpb.UserMetadata{Summary: at("order-1")}}), true},
		"a list": {&workflowservice.ListWorkflowExecutionsResponse{Executions: []*workflowpb.WorkflowExecutionInfo{
			{Execution: execution("order-7"), Memo: memo("order-7")}, {Execution: execution("child-1"), ParentExecution: execution("parent-1"), Memo: memo("parent-1")}}}, true},
		"a list with another's memo": {&workflowservice.ListWorkflowExecutionsResponse{Executions: []*workflowpb.WorkflowExecutionInfo{
			{Execution: execution("order-7"), Memo: memo("order-8")}}}, false},
		"a step": {&workflowservice.DescribeWorkflowExecutionResponse{PendingActivities: []*workflowpb.PendingActivityInfo{
			{HeartbeatDetails: list("order-1"), LastFailure: &failurepb.Failure{EncodedAttributes: at("order-1")}}}}, true},
	} {
		if err := (reader{keyset: k, options: Options{Namespace: "shop"}}).decrypt(t.Context(), test.message, "order-1"); err != nil {
			t.Fatal(name, err)
		}
		text := protojson.Format(test.message)
		encrypted, marked := strings.Contains(text, metadataKeyID), strings.Contains(text, metadataProblem)
		if encrypted == test.readable || marked == test.readable {
			t.Errorf("%s is %s", name, text)
		}
	}
}
