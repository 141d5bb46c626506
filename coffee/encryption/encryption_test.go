package encryption

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	querypb "go.temporal.io/api/query/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// newKeyset makes a keyset in a file of its own.
func newKeyset(t *testing.T) *Keyset {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	keyset, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return keyset
}

func payload(t *testing.T, value any) *commonpb.Payload {
	t.Helper()
	p, err := converter.GetDefaultDataConverter().ToPayload(value)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRotate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	uses := func() (uses []KeyUse) {
		t.Helper()
		keys, err := List(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			uses = append(uses, key.Use)
		}
		return uses
	}
	want := func(want ...KeyUse) {
		t.Helper()
		got, _ := json.Marshal(uses())
		if expected, _ := json.Marshal(want); string(got) != string(expected) {
			t.Errorf("the keys are %s, want %s", got, expected)
		}
	}
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	want("encrypts")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	if err := Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a keyset was made twice: %v", err)
	}
	for _, step := range []struct {
		prepare bool
		want    []KeyUse
	}{
		{true, []KeyUse{"encrypts", "prepared"}},
		{false, []KeyUse{"decrypts", "encrypts"}},
		{false, []KeyUse{"decrypts", "decrypts", "encrypts"}},
	} {
		if err := Rotate(path, step.prepare); err != nil {
			t.Fatal(err)
		}
		want(step.want...)
	}
	if err := Rotate(path, true); err != nil {
		t.Fatal(err)
	}
	if err := Rotate(path, true); err == nil || !strings.Contains(err.Error(), "is prepared already") {
		t.Errorf("a key was prepared twice: %v", err)
	}
	// Another program that changes the keyset is not overwritten.
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Rotate(path, false); err == nil || !strings.Contains(err.Error(), "another program is changing the keyset") {
		t.Errorf("two programs changed the keyset at once: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the keyset was changed: %v", err)
	}
}

// TestRotateThroughALink: a keyset that is a link, as in a mounted secret, stays one.
func TestRotateThroughALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target.json"), filepath.Join(dir, "link.json")
	if err := Create(target); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := Rotate(link, false); err != nil {
		t.Fatal(err)
	}
	if keys, err := List(target); err != nil || len(keys) != 2 {
		t.Errorf("the target has the keys %v, %v", keys, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "there is no keyset "+path) {
		t.Errorf("no file: %v", err)
	}
	for _, content := range []string{"", "{}", "secret text", `{"primaryKeyId": 1, "key": []}`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), path+" is not a keyset") {
			t.Errorf("%q: %v", content, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the file: %v", err)
		}
	}
}

func TestPayload(t *testing.T) {
	t.Parallel()
	k := newKeyset(t)
	plain := payload(t, map[string]string{"drink": "latte"})
	encrypted, err := k.encrypt(plain, "order-1")
	if err != nil {
		t.Fatal(err)
	}
	if text := encrypted.String(); strings.Contains(text, "latte") || strings.Contains(text, "json") {
		t.Errorf("it can be read: %s", text)
	}
	if again, err := k.encrypt(encrypted, "order-1"); err != nil || !proto.Equal(again, encrypted) {
		t.Errorf("it was encrypted twice: %v, %v", again, err)
	}
	for _, workflow := range []string{"order-1", ""} { // a codec server does not know
		if decrypted, err := k.decrypt(encrypted, workflow); err != nil || !proto.Equal(decrypted, plain) {
			t.Errorf("in %q it is %v, %v", workflow, decrypted, err)
		}
	}
	if _, err := k.decrypt(encrypted, "order-2"); !errors.Is(err, ErrDamaged) {
		t.Errorf("as another order's it is read: %v", err)
	}
	for name, change := range map[string]func(*commonpb.Payload){
		"another order's name": func(p *commonpb.Payload) { p.Metadata[metadataWorkflow] = []byte("order-2") },
		"no name":              func(p *commonpb.Payload) { delete(p.Metadata, metadataWorkflow) },
		"a bit":                func(p *commonpb.Payload) { p.Data[len(p.Data)-1] ^= 1 },
		"the end":              func(p *commonpb.Payload) { p.Data = p.Data[:len(p.Data)-1] },
	} {
		changed := proto.Clone(encrypted).(*commonpb.Payload)
		change(changed)
		if _, err := k.decrypt(changed, ""); !errors.Is(err, ErrDamaged) {
			t.Errorf("with %s changed it is read: %v", name, err)
		}
	}
	if same, err := k.decrypt(plain, "order-1"); err != nil || same != plain {
		t.Errorf("what was written before there was a keyset: %v, %v", same, err)
	}
}

// TestMissingKey: each error names the key and the order, and tells a wrong keyset from
// none.
func TestMissingKey(t *testing.T) {
	t.Parallel()
	mine, theirs := newKeyset(t), newKeyset(t)
	encrypted, err := theirs.encrypt(payload(t, "latte"), "order-1")
	if err != nil {
		t.Fatal(err)
	}
	id := string(encrypted.GetMetadata()["encryption-key-id"])
	for _, test := range []struct {
		keyset *Keyset
		want   string
	}{
		{mine, `workflow "order-1" is encrypted with key "` + id + `", which is not in the keyset ` + mine.Path()},
		{nil, `workflow "order-1" is encrypted with key "` + id + `", and there is no keyset`},
	} {
		_, err := test.keyset.decrypt(encrypted, "order-1")
		var missing *MissingKeyError
		if !errors.As(err, &missing) || err.Error() != test.want {
			t.Errorf("the error is %v, want %s", err, test.want)
		}
	}
}

// TestNewKeyWhileRunning: a program that runs reads a keyset again when it meets a new
// key, and encrypts with that from then on.
func TestNewKeyWhileRunning(t *testing.T) {
	t.Parallel()
	running := newKeyset(t)
	before, err := running.encrypt(payload(t, "before"), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := Rotate(running.Path(), false); err != nil {
		t.Fatal(err)
	}
	fresh, err := Open(running.Path())
	if err != nil {
		t.Fatal(err)
	}
	after, err := fresh.encrypt(payload(t, "after"), "")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for _, p := range []*commonpb.Payload{after, before} {
				if _, err := running.decrypt(p, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	next, err := running.encrypt(payload(t, "next"), "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(next.Metadata[metadataKeyID]), string(after.Metadata[metadataKeyID]); got != want {
		t.Errorf("it encrypts with %s, want %s", got, want)
	}
	// A key that is known already, because it was prepared, encrypts once others use it.
	if err := Rotate(running.Path(), true); err != nil {
		t.Fatal(err)
	}
	prepared, err := Open(running.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := Rotate(running.Path(), false); err != nil {
		t.Fatal(err)
	}
	if fresh, err = Open(running.Path()); err != nil {
		t.Fatal(err)
	}
	if after, err = fresh.encrypt(payload(t, "after"), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := prepared.decrypt(after, ""); err != nil {
		t.Error(err)
	}
	if next, err = prepared.encrypt(payload(t, "next"), ""); err != nil {
		t.Fatal(err)
	}
	if got, want := string(next.Metadata[metadataKeyID]), string(after.Metadata[metadataKeyID]); got != want {
		t.Errorf("the prepared key does not encrypt: it is %s, not %s", want, got)
	}
	// A file that has gone, or is broken, takes no key away.
	if err := os.Remove(running.Path()); err != nil {
		t.Fatal(err)
	}
	if _, err := running.decrypt(before, ""); err != nil {
		t.Error(err)
	}
}

// wire calls an interceptor, and returns what went out. The server answers with reply.
func wire(t *testing.T, k *Keyset, method string, request, reply, into proto.Message) (sent proto.Message, err error) {
	t.Helper()
	i := interceptor{keyset: k}
	err = i.intercept(context.Background(), workflowService+method, request, into, nil,
		func(_ context.Context, _ string, request, into any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			sent = request.(proto.Message)
			proto.Merge(into.(proto.Message), reply)
			return nil
		})
	return sent, err
}

// TestInterceptor: nothing readable leaves the process, except search attributes, and
// everything that comes back is as it was.
func TestInterceptor(t *testing.T) {
	t.Parallel()
	k := newKeyset(t)
	secret := func() *commonpb.Payload { return payload(t, "secret") }
	list := func() *commonpb.Payloads { return &commonpb.Payloads{Payloads: []*commonpb.Payload{secret()}} }
	failure := &failurepb.Failure{Message: "secret", StackTrace: "secret", Cause: &failurepb.Failure{Message: "secret cause"}}
	start := &workflowservice.StartWorkflowExecutionRequest{
		WorkflowId:       "order-1",
		Input:            list(),
		Memo:             &commonpb.Memo{Fields: map[string]*commonpb.Payload{"order": secret()}},
		Header:           &commonpb.Header{Fields: map[string]*commonpb.Payload{"trace": secret()}},
		UserMetadata:     &sdkpb.UserMetadata{Summary: secret()},
		SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"CoffeeStatus": payload(t, "COMPLETED")}},
	}
	completed := &workflowservice.RespondWorkflowTaskCompletedRequest{
		ResourceId: "workflow:order-1",
		Commands: []*commandpb.Command{{Attributes: &commandpb.Command_ScheduleActivityTaskCommandAttributes{
			ScheduleActivityTaskCommandAttributes: &commandpb.ScheduleActivityTaskCommandAttributes{Input: list()}}}},
	}
	for _, request := range []proto.Message{
		start, completed,
		&workflowservice.RespondActivityTaskFailedRequest{ResourceId: "workflow:order-1", Failure: failure, LastHeartbeatDetails: list()},
		&workflowservice.RespondActivityTaskCompletedRequest{ResourceId: "workflow:order-1", Result: list()},
		&workflowservice.RecordActivityTaskHeartbeatRequest{ResourceId: "workflow:order-1", Details: list()},
		&workflowservice.SignalWorkflowExecutionRequest{WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "order-1"}, Input: list()},
	} {
		before := proto.Clone(request)
		sent, err := wire(t, k, "Any", request, &workflowservice.StartWorkflowExecutionResponse{}, &workflowservice.StartWorkflowExecutionResponse{})
		if err != nil {
			t.Fatal(err)
		}
		text := protojson.Format(sent)
		if strings.Contains(text, "secret") || strings.Contains(text, "InNlY3JldCI=") { // base64 of "secret" in JSON
			t.Errorf("%s can be read", text)
		}
		if bound := strings.Count(text, metadataWorkflow); bound == 0 || bound != strings.Count(text, metadataKeyID) {
			t.Errorf("not everything is bound to its order: %s", text)
		}
		if !proto.Equal(request, before) {
			t.Errorf("the caller's request was changed: %s", protojson.Format(request))
		}
		if request == proto.Message(start) && !strings.Contains(text, "IkNPTVBMRVRFRCI=") {
			t.Errorf("a search attribute cannot be read: %s", text)
		}
		// It comes back as it was.
		back := sent.ProtoReflect().New().Interface()
		if _, err := wire(t, k, "Any", &workflowservice.GetSystemInfoRequest{}, sent, back); err != nil {
			t.Fatal(err)
		}
		if f, ok := back.(*workflowservice.RespondActivityTaskFailedRequest); ok {
			if f.Failure.Message != "secret" || f.Failure.StackTrace != "secret" || f.Failure.Cause.Message != "secret cause" {
				t.Errorf("the failure is %v", f.Failure)
			}
			f.Failure = failure
		}
		if !proto.Equal(back, before) {
			t.Errorf("it came back as %s", protojson.Format(back))
		}
	}
}

// TestQueryError: why a query failed can repeat what is in the history.
func TestQueryError(t *testing.T) {
	t.Parallel()
	k := newKeyset(t)
	for _, request := range []proto.Message{
		&workflowservice.RespondQueryTaskCompletedRequest{ErrorMessage: "secret"},
		&workflowservice.RespondWorkflowTaskCompletedRequest{QueryResults: map[string]*querypb.WorkflowQueryResult{"q": {ErrorMessage: "secret"}}},
	} {
		sent, err := wire(t, k, "Any", request, &workflowservice.RespondQueryTaskCompletedResponse{}, &workflowservice.RespondQueryTaskCompletedResponse{})
		if err != nil {
			t.Fatal(err)
		}
		if text := protojson.Format(sent); strings.Contains(text, "secret") || !strings.Contains(text, "why is encrypted") {
			t.Errorf("it says %s", text)
		}
	}
}

// TestOptional: what nothing depends on stays encrypted without the key, everything
// else is an error. So a client with the wrong keyset can neither stop an order with a
// signal nor break a list.
func TestOptional(t *testing.T) {
	t.Parallel()
	k, theirs := newKeyset(t), newKeyset(t)
	foreign, err := theirs.encrypt(payload(t, "x"), "order-1")
	if err != nil {
		t.Fatal(err)
	}
	list := &commonpb.Payloads{Payloads: []*commonpb.Payload{foreign}}
	fields := map[string]*commonpb.Payload{"order": foreign}
	history := func(event *historypb.HistoryEvent) proto.Message {
		return &workflowservice.GetWorkflowExecutionHistoryResponse{History: &historypb.History{Events: []*historypb.HistoryEvent{event}}}
	}
	for name, test := range map[string]struct {
		reply    proto.Message
		readable bool
	}{
		"signal": {history(&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
			WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{Input: list}}}), true},
		"summary": {history(&historypb.HistoryEvent{UserMetadata: &sdkpb.UserMetadata{Summary: foreign}}), true},
		"list": {&workflowservice.ListWorkflowExecutionsResponse{Executions: []*workflowpb.WorkflowExecutionInfo{
			{Execution: &commonpb.WorkflowExecution{WorkflowId: "order-1"}, Memo: &commonpb.Memo{Fields: fields}}}}, true},
		"step in progress": {&workflowservice.DescribeWorkflowExecutionResponse{PendingActivities: []*workflowpb.PendingActivityInfo{{HeartbeatDetails: list}}}, true},
		"input": {history(&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
			WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{Input: list}}}), false},
		"the next task": {&workflowservice.RespondWorkflowTaskCompletedResponse{WorkflowTask: &workflowservice.PollWorkflowTaskQueueResponse{
			History: history(&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
				ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{Result: list}}}).(*workflowservice.GetWorkflowExecutionHistoryResponse).History}}, false},
		"result": {history(&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
			ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{Result: list}}}), false},
		"marker": {history(&historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_MarkerRecordedEventAttributes{
			MarkerRecordedEventAttributes: &historypb.MarkerRecordedEventAttributes{Details: map[string]*commonpb.Payloads{"data": list}}}}), false},
	} {
		for _, keyset := range []*Keyset{k, nil} {
			into := test.reply.ProtoReflect().New().Interface()
			_, err := wire(t, keyset, "Any", &workflowservice.GetSystemInfoRequest{}, test.reply, into)
			if (err == nil) != test.readable {
				t.Errorf("%s: %v", name, err)
			}
			if test.readable && !proto.Equal(into, test.reply) {
				t.Errorf("%s was changed: %v", name, into)
			}
		}
	}
}

// TestKeysetOfTheSameTime: a keyset that takes the place of another one is read, even if
// both have one size and one time, because the file system's clock has not moved on.
func TestKeysetOfTheSameTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	rotate := func(prepare bool) error {
		err := Rotate(path, prepare)
		data, readErr := os.ReadFile(path)
		if err = errors.Join(err, readErr); err != nil {
			return err
		}
		padded := append(data, strings.Repeat(" ", 4096-len(data))...)
		return errors.Join(os.WriteFile(path, padded, 0o600), os.Chtimes(path, time.Time{}, time.Unix(1e9, 0)))
	}
	if err := errors.Join(Create(path), rotate(true)); err != nil {
		t.Fatal(err)
	}
	keyset, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	old := keyset.current().primary
	if err := errors.Join(rotate(false), keyset.load()); err != nil || keyset.current().primary == old {
		t.Errorf("key %s still encrypts, %v", old, err)
	}
}

// TestUntouched: only a whole history, in which no worker has completed a task, and which
// no reset began, shows that nothing was done for an order.
func TestUntouched(t *testing.T) {
	t.Parallel()
	started := &historypb.HistoryEvent{EventId: 1, EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED}
	given := &historypb.HistoryEvent{EventId: 2, EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED}
	reset := &historypb.HistoryEvent{EventId: 2, EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED, Attributes: &historypb.HistoryEvent_WorkflowTaskFailedEventAttributes{
		WorkflowTaskFailedEventAttributes: &historypb.WorkflowTaskFailedEventAttributes{Cause: enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW}}}
	done := &historypb.HistoryEvent{EventId: 3, EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED}
	for name, test := range map[string]struct {
		events []*historypb.HistoryEvent
		token  string
		want   bool
	}{
		"no task was completed": {[]*historypb.HistoryEvent{started, given}, "", true},
		"one was":               {[]*historypb.HistoryEvent{started, given, done}, "", false},
		"there is more":         {[]*historypb.HistoryEvent{started, given}, "next", false},
		"only the end":          {[]*historypb.HistoryEvent{given}, "", false},
		"a reset began it":      {[]*historypb.HistoryEvent{started, reset}, "", false},
		"nothing":               {nil, "", false},
	} {
		if got := isUntouched(&workflowservice.GetWorkflowExecutionHistoryResponse{History: &historypb.History{Events: test.events}, NextPageToken: []byte(test.token)}); got != test.want {
			t.Errorf("%s: untouched is %v", name, got)
		}
	}
}
