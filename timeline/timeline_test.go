package timeline

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

var epoch = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func at(seconds float64) *timestamppb.Timestamp {
	return timestamppb.New(epoch.Add(time.Duration(seconds * float64(time.Second))))
}

// draw draws a history in all ways, and checks what nothing may break: the width of a
// terminal, the syntax of a picture, and that no text from outside moves a cursor.
func draw(t testing.TB, h History) string {
	t.Helper()
	line := New(h)
	var text, svg bytes.Buffer
	if err := errors.Join(line.WriteText(&text, TextOptions{Width: 70, Events: true}), line.WriteSVG(&svg), line.WriteMermaid(io.Discard)); err != nil {
		t.Fatal(err)
	}
	for _, row := range strings.Split(text.String(), "\n") {
		if n := utf8.RuneCountInString(row); n > 70 {
			t.Errorf("a line has %d columns: %s", n, row)
		}
		if strings.ContainsAny(row, "\x1b\r\t\x00") {
			t.Errorf("a line has control characters: %q", row)
		}
	}
	for decoder := xml.NewDecoder(&svg); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
	}
	if _, err := json.Marshal(line); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// randomly sets some fields of a message, to whatever their types allow.
func randomly(random *rand.Rand, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if random.IntN(3) == 0 || field.IsList() || field.IsMap() || field.ContainingOneof() != nil && random.IntN(4) > 0 {
			continue
		}
		switch field.Kind() {
		case protoreflect.MessageKind:
			if depth > 0 {
				randomly(random, m.Mutable(field).Message(), depth-1)
			}
		case protoreflect.EnumKind:
			m.Set(field, protoreflect.ValueOfEnum(protoreflect.EnumNumber(random.IntN(20))))
		case protoreflect.StringKind:
			m.Set(field, protoreflect.ValueOfString([]string{"", "5", "brew", "</text>\x1b[2J\u202e;#", strings.Repeat("long ", 100)}[random.IntN(5)]))
		case protoreflect.Int64Kind:
			m.Set(field, protoreflect.ValueOfInt64([]int64{0, int64(random.IntN(30)), random.Int64(), -random.Int64()}[random.IntN(4)]))
		case protoreflect.Int32Kind:
			m.Set(field, protoreflect.ValueOfInt32([]int32{0, random.Int32N(15), random.Int32(), -random.Int32()}[random.IntN(4)]))
		}
	}
}

// TestAnyHistory: whatever a history is, it can be drawn.
func TestAnyHistory(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	attributes := (*historypb.HistoryEvent)(nil).ProtoReflect().Descriptor().Oneofs().ByName("attributes").Fields()
	for range 500 {
		h := History{WorkflowID: "any", Waiting: "it waits", ReadAt: epoch.Add(time.Hour)}
		for id := range random.IntN(40) {
			event := &historypb.HistoryEvent{EventId: int64(id), EventType: enumspb.EventType(random.IntN(62)), EventTime: at(random.Float64() * 100)}
			if random.IntN(20) == 0 {
				event.EventTime = nil
			}
			m := event.ProtoReflect()
			if random.IntN(10) > 0 { // mostly the attributes of its type
				for i := range attributes.Len() {
					name := strings.ReplaceAll(strings.TrimSuffix(string(attributes.Get(i).Name()), "_event_attributes"), "_", "")
					if strings.EqualFold(name, event.GetEventType().String()) {
						randomly(random, m.Mutable(attributes.Get(i)).Message(), 2)
					}
				}
			} else {
				randomly(random, m.Mutable(attributes.Get(random.IntN(attributes.Len()))).Message(), 2)
			}
			h.Events = append(h.Events, event)
		}
		pending, operation := &workflowpb.PendingActivityInfo{}, &workflowpb.PendingNexusOperationInfo{}
		randomly(random, pending.ProtoReflect(), 2)
		randomly(random, operation.ProtoReflect(), 2)
		h.PendingActivities, h.PendingNexusOperations = []*workflowpb.PendingActivityInfo{pending, nil}, []*workflowpb.PendingNexusOperationInfo{operation, nil}
		draw(t, h)
	}
}

// FuzzNew does so with the bytes of a history.
func FuzzNew(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("..", "coffee", "testdata", "histories", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatal("there are no histories", err)
	}
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			f.Fatal(err)
		}
		h, err := FromJSON(file)
		data, encoding := proto.Marshal(&historypb.History{Events: h.Events})
		if err := errors.Join(err, encoding, file.Close()); err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var history historypb.History
		if proto.Unmarshal(data, &history) == nil {
			draw(t, History{Events: history.Events, ReadAt: epoch})
		}
	})
}

// event returns an event with attributes, unless they are nil.
func event(id int64, seconds float64, kind enumspb.EventType, attributes proto.Message) *historypb.HistoryEvent {
	e := &historypb.HistoryEvent{EventId: id, EventTime: at(seconds), EventType: kind}
	if attributes == nil {
		return e
	}
	m := e.ProtoReflect()
	fields := m.Descriptor().Oneofs().ByName("attributes").Fields()
	for i := range fields.Len() {
		if fields.Get(i).Message() == attributes.ProtoReflect().Descriptor() {
			m.Set(fields.Get(i), protoreflect.ValueOfMessage(attributes.ProtoReflect()))
		}
	}
	return e
}

// TestEvents: what a server of a test does not make by itself.
func TestEvents(t *testing.T) {
	t.Parallel()
	operation := func(id int64) *historypb.HistoryEvent {
		return event(id, 1, enumspb.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED, &historypb.NexusOperationScheduledEventAttributes{Endpoint: "bank", Service: "accounts", Operation: "debit"})
	}
	asked := []*historypb.HistoryEvent{
		event(5, 1, enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, &historypb.ActivityTaskScheduledEventAttributes{ActivityType: &commonpb.ActivityType{Name: "brew"}}),
		event(6, 2, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED, &historypb.ActivityTaskCancelRequestedEventAttributes{ScheduledEventId: 5}),
	}
	for name, c := range map[string]struct {
		events  []*historypb.HistoryEvent
		pending *workflowpb.PendingNexusOperationInfo
		want    string
	}{
		"a Nexus operation": {
			[]*historypb.HistoryEvent{operation(5), event(6, 2, enumspb.EVENT_TYPE_NEXUS_OPERATION_COMPLETED, &historypb.NexusOperationCompletedEventAttributes{ScheduledEventId: 5})}, nil,
			"nexus debit ok: Nexus bank/accounts: done",
		},
		"one under way, whose cancel failed": {
			[]*historypb.HistoryEvent{operation(5), event(6, 2, enumspb.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUEST_FAILED, &historypb.NexusOperationCancelRequestFailedEventAttributes{ScheduledEventId: 5})}, nil,
			"nexus debit running: Nexus bank/accounts",
		},
		"one that is tried again": {
			[]*historypb.HistoryEvent{operation(5)},
			&workflowpb.PendingNexusOperationInfo{ScheduledEventId: 5, State: enumspb.PENDING_NEXUS_OPERATION_STATE_BACKING_OFF, Attempt: 3, LastAttemptFailure: &failurepb.Failure{Message: "bank holiday"}},
			"nexus debit waiting: Nexus bank/accounts: attempt 4 follows, after bank holiday",
		},
		"one that is blocked": {
			[]*historypb.HistoryEvent{operation(5)},
			&workflowpb.PendingNexusOperationInfo{ScheduledEventId: 5, State: enumspb.PENDING_NEXUS_OPERATION_STATE_BLOCKED, BlockedReason: "the circuit breaker is open"},
			"nexus debit waiting: Nexus bank/accounts: blocked: the circuit breaker is open",
		},
		"an activity that was asked to end": {
			asked, nil,
			"step brew cancelled: cancelled",
		},
		"and completed all the same": {
			append(slices.Clone(asked), event(7, 3, enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, &historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: 5})), nil,
			"step brew ok: done",
		},
		"a pause": {
			[]*historypb.HistoryEvent{event(5, 1, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED, &historypb.WorkflowExecutionPausedEventAttributes{Reason: "stocktaking"}), event(6, 2, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED, nil)}, nil,
			"moment paused waiting: stocktaking\nmoment unpaused ok: ",
		},
		"what nobody has thought of yet": {
			[]*historypb.HistoryEvent{event(5, 1, enumspb.EventType(1000), nil)}, nil,
			"moment 1000 ok: ",
		},
	} {
		h := History{WorkflowID: "w", Events: c.events, ReadAt: epoch.Add(time.Minute), PendingNexusOperations: []*workflowpb.PendingNexusOperationInfo{c.pending}}
		var got []string
		for _, row := range New(h).Rows {
			got = append(got, fmt.Sprintf("%s %s %s: %s", row.Kind, row.Name, row.State, row.Outcome))
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s:\n%s\nnot\n%s", name, strings.Join(got, "\n"), c.want)
		}
		draw(t, h)
	}
}

// long returns a history of many activities, of three types in turn.
func long(events int) (h History) {
	h = History{WorkflowID: "long", ReadAt: epoch.Add(24 * time.Hour)}
	for id := int64(1); len(h.Events)+3 <= events; id += 3 {
		name := []string{"grind", "brew", "pour"}[id/3%3]
		h.Events = append(h.Events,
			event(id, float64(id), enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, &historypb.ActivityTaskScheduledEventAttributes{ActivityId: fmt.Sprint(id), ActivityType: &commonpb.ActivityType{Name: name}}),
			event(id+1, float64(id), enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED, &historypb.ActivityTaskStartedEventAttributes{ScheduledEventId: id, Attempt: 1}),
			event(id+2, float64(id)+0.5, enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, &historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: id}))
	}
	return h
}

// TestFold: of a long history one sees how it began, what it does again and again, and how it
// ended; and that it is not all.
func TestFold(t *testing.T) {
	t.Parallel()
	h := long(50_000)
	var text bytes.Buffer
	if err := New(h).WriteText(&text, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(text.String(), "\n"); lines > 110 {
		t.Errorf("50,000 events become %d lines", lines)
	}
	for _, want := range []string{"long, 16666 rows, 16576 of them folded", "5525 times: done"} {
		if !strings.Contains(strings.Join(strings.Fields(text.String()), " "), want) {
			t.Errorf("%q is missing:\n%s", want, text.String())
		}
	}
	draw(t, h)
	if short := New(long(600)); len(short.fold().Rows) != 200 {
		t.Errorf("200 rows are folded to %d", len(short.fold().Rows))
	}
	for i := range h.Events { // all of them have another name
		if scheduled := h.Events[i].GetActivityTaskScheduledEventAttributes(); scheduled != nil {
			scheduled.ActivityType.Name = fmt.Sprint("step ", i)
		}
	}
	if folded := New(h).fold(); len(folded.Rows) != 200 || !strings.Contains(folded.Rows[139].Outcome, "16466 rows of other names are left out") {
		t.Errorf("%d rows are left, and the last of those in between says %q", len(folded.Rows), folded.Rows[139].Outcome)
	}
}

func BenchmarkFiftyThousandEvents(b *testing.B) {
	h := long(50_000)
	for b.Loop() {
		if err := New(h).WriteText(io.Discard, TextOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
