package timeline

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/timeline"
)

// To update the golden files: go test ./coffee/timeline -update
var update = flag.Bool("update", false, "write the golden files")

func readHistories(t testing.TB) map[string]*historypb.History {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "testdata", "histories", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("there are no histories", err)
	}
	histories := map[string]*historypb.History{}
	for _, file := range files {
		reader, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		history, err := client.HistoryFromJSON(reader, client.HistoryJSONOptions{})
		if err := errors.Join(err, reader.Close()); err != nil {
			t.Fatal(err)
		}
		histories[strings.TrimSuffix(filepath.Base(file), ".json")] = history
	}
	return histories
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is another; with -update it would be:\n%s", file, got)
	}
}

func TestGolden(t *testing.T) {
	for name, history := range readHistories(t) {
		line := New(desk.History{OrderID: "123", Events: history.GetEvents(), ReadAt: time.Now()})
		var text bytes.Buffer
		if err := line.WriteText(&text, timeline.TextOptions{}); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", text.Bytes())
		checkText(t, text.String(), 80)
		if name != "completed_after_jams" && name != "cancelled_while_brewing" && name != "completed_skipping_jams" {
			continue
		}
		text.Reset()
		if err := line.WriteText(&text, timeline.TextOptions{Events: true, Width: 100}); err != nil {
			t.Fatal(err)
		}
		golden(t, name+"_events.txt", text.Bytes())
		var svg, mermaid, data bytes.Buffer
		encoder := json.NewEncoder(&data)
		encoder.SetIndent("", "  ")
		if err := errors.Join(line.WriteSVG(&svg), line.WriteMermaid(&mermaid), encoder.Encode(line)); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".svg", svg.Bytes())
		golden(t, name+".mmd", mermaid.Bytes())
		golden(t, name+".json", data.Bytes())
	}
}

// checkText checks that no line is wider than the terminal, and that none moves its
// cursor.
func checkText(t testing.TB, text string, width int) {
	t.Helper()
	for _, line := range strings.Split(text, "\n") {
		if n := utf8.RuneCountInString(line); n > width {
			t.Errorf("a line has %d columns: %s", n, line)
		}
		if strings.ContainsAny(line, "\x1b\r\t\x00") {
			t.Errorf("a line has control characters: %q", line)
		}
	}
}

var epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func at(seconds float64) *timestamppb.Timestamp {
	return timestamppb.New(epoch.Add(time.Duration(seconds * float64(time.Second))))
}

func payload(t testing.TB, v any) *commonpb.Payloads {
	t.Helper()
	p, err := converter.GetDefaultDataConverter().ToPayloads(v)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func started(t testing.TB, drink coffee.Drink) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{EventId: 1, EventTime: at(0), EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
		WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{Input: payload(t, coffee.OrderRequest{OrderID: "123", Drink: drink, Size: "M"})}}}
}

func taskScheduled(id int64, seconds float64) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{EventId: id, EventTime: at(seconds), EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED}
}

func taskStarted(id int64, seconds float64) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{EventId: id, EventTime: at(seconds), EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED}
}

func scheduled(id int64, seconds float64, activity string) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{EventId: id, EventTime: at(seconds), EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
		ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{ActivityId: "a", ActivityType: &commonpb.ActivityType{Name: activity},
			RetryPolicy: &commonpb.RetryPolicy{InitialInterval: durationpb.New(time.Second), BackoffCoefficient: 2, MaximumInterval: durationpb.New(100 * time.Second), MaximumAttempts: 5}}}}
}

func jam() *failurepb.Failure {
	return &failurepb.Failure{Message: "brew machine jammed", FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: coffee.ErrorTypeJammed}}}
}

// TestRunning: a step in progress is drawn with what is known about it.
func TestRunning(t *testing.T) {
	for name, c := range map[string]struct {
		events  []*historypb.HistoryEvent
		pending *workflowpb.PendingActivityInfo
		readAt  float64
		want    string
	}{
		"first attempt": {
			[]*historypb.HistoryEvent{started(t, "latte"), scheduled(5, 1, coffee.ActivityBrewCoffee)},
			&workflowpb.PendingActivityInfo{ActivityId: "a", Attempt: 1, State: enumspb.PENDING_ACTIVITY_STATE_STARTED, LastStartedTime: at(1)},
			1.5, "step brew 1-? running under way",
		},
		"backoff": {
			[]*historypb.HistoryEvent{started(t, "latte"), scheduled(5, 1, coffee.ActivityBrewCoffee)},
			&workflowpb.PendingActivityInfo{ActivityId: "a", Attempt: 3, State: enumspb.PENDING_ACTIVITY_STATE_SCHEDULED, LastFailure: jam(), NextAttemptScheduleTime: at(6)},
			5, "step brew 1-? running under way\nattempt attempt 1 1-2~ failed failed\nbackoff backoff 2-3~ waiting\nattempt attempt 2 3-4~ failed brew machine jammed\nbackoff backoff 4-?~ waiting attempt 3 follows",
		},
		"no worker for the second attempt": {
			[]*historypb.HistoryEvent{started(t, "latte"), scheduled(5, 1, coffee.ActivityBrewCoffee)},
			&workflowpb.PendingActivityInfo{ActivityId: "a", Attempt: 2, State: enumspb.PENDING_ACTIVITY_STATE_SCHEDULED, LastFailure: jam(), ScheduledTime: at(3)},
			5, "step brew 1-? running under way\nattempt attempt 1 1-2~ failed brew machine jammed\nbackoff backoff 2-3~ waiting\nwait waiting 3-? waiting waiting for a worker",
		},
		"second attempt": {
			[]*historypb.HistoryEvent{started(t, "latte"), scheduled(5, 1, coffee.ActivityBrewCoffee)},
			&workflowpb.PendingActivityInfo{ActivityId: "a", Attempt: 2, State: enumspb.PENDING_ACTIVITY_STATE_STARTED, LastFailure: jam(), LastStartedTime: at(3)},
			3.5, "step brew 1-? running under way\nattempt attempt 1 1-2~ failed brew machine jammed\nbackoff backoff 2-3~ waiting\nattempt attempt 2 3-? running under way",
		},
		"many attempts": {
			[]*historypb.HistoryEvent{started(t, "latte"), scheduled(5, 1, coffee.ActivityRefundCustomer)},
			&workflowpb.PendingActivityInfo{ActivityId: "a", Attempt: 2_000_000_000, State: enumspb.PENDING_ACTIVITY_STATE_STARTED, LastFailure: jam(), LastStartedTime: at(3)},
			3.5, "step refund 1-? running under way\nattempt attempts 1-1999999999 1-3 failed brew machine jammed\nattempt attempt 2000000000 3-? running under way",
		},
		"no worker for one more attempt": {
			[]*historypb.HistoryEvent{started(t, "latte"), scheduled(5, 1, coffee.ActivityRefundCustomer)},
			&workflowpb.PendingActivityInfo{ActivityId: "a", Attempt: 13, State: enumspb.PENDING_ACTIVITY_STATE_SCHEDULED, LastFailure: jam(), ScheduledTime: at(3)},
			5, "step refund 1-? running under way\nattempt attempts 1-12 1-3 failed brew machine jammed\nwait waiting 3-? waiting waiting for a worker",
		},
		"no worker for the order": {
			[]*historypb.HistoryEvent{started(t, "latte"), taskScheduled(2, 0)}, nil,
			10, "wait waiting 0-? waiting waiting for a worker",
		},
		"no worker for a step": {
			[]*historypb.HistoryEvent{started(t, "latte"), scheduled(5, 1, coffee.ActivityChargeCustomer)},
			&workflowpb.PendingActivityInfo{ActivityId: "a", Attempt: 1, State: enumspb.PENDING_ACTIVITY_STATE_SCHEDULED, ScheduledTime: at(1)},
			10, "step charge 1-? running under way\nwait waiting 1-? waiting waiting for a worker",
		},
		"paused": {
			[]*historypb.HistoryEvent{started(t, "latte"), scheduled(5, 1, coffee.ActivityBrewCoffee)},
			&workflowpb.PendingActivityInfo{ActivityId: "a", Attempt: 2, State: enumspb.PENDING_ACTIVITY_STATE_PAUSED, LastFailure: jam(), LastStartedTime: at(1), ScheduledTime: at(3)},
			10, "step brew 1-? waiting paused by somebody\nattempt attempt 1 1-2~ failed brew machine jammed\nbackoff backoff 2-3~ waiting",
		},
		"paused before it began": {
			[]*historypb.HistoryEvent{started(t, "latte"), scheduled(5, 1, coffee.ActivityChargeCustomer)},
			&workflowpb.PendingActivityInfo{ActivityId: "a", Attempt: 1, State: enumspb.PENDING_ACTIVITY_STATE_PAUSED, ScheduledTime: at(1)},
			10, "step charge 1-? waiting paused by somebody",
		},
		"to be paused": {
			[]*historypb.HistoryEvent{started(t, "latte"), scheduled(5, 1, coffee.ActivityBrewCoffee)},
			&workflowpb.PendingActivityInfo{ActivityId: "a", Attempt: 1, State: enumspb.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED, LastStartedTime: at(1)},
			1.5, "step brew 1-? running under way, then paused by somebody",
		},
		"a worker came late": {
			[]*historypb.HistoryEvent{started(t, "latte"), taskScheduled(2, 0), taskStarted(3, 7)}, nil,
			10, "wait waiting 0-7 waiting waited for a worker",
		},
		"terminated while brewing": {
			[]*historypb.HistoryEvent{started(t, "latte"), scheduled(5, 1, coffee.ActivityBrewCoffee),
				{EventId: 6, EventTime: at(2), EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED}}, nil,
			10, "step brew 1-2 cancelled the order ended",
		},
	} {
		history := desk.History{OrderID: "123", Events: c.events, ReadAt: at(c.readAt).AsTime()}
		if c.pending != nil {
			history.Pending = []*workflowpb.PendingActivityInfo{c.pending}
		}
		var got []string
		for _, row := range New(history).Rows {
			second := func(at time.Time) string {
				if at.IsZero() {
					return "?"
				}
				return strings.TrimSuffix(at.Sub(epoch).String(), "s")
			}
			line := string(row.Kind) + " " + row.Name + " " + second(row.Start) + "-" + second(row.End)
			if row.Estimated {
				line += "~"
			}
			got = append(got, strings.TrimSpace(line+" "+string(row.State)+" "+row.Outcome))
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s:\n%s\nnot\n%s", name, strings.Join(got, "\n"), c.want)
		}
	}
}

// TestForeignText: text from outside is shown as plain text everywhere.
func TestForeignText(t *testing.T) {
	evil := "</text><script>alert(1)</script>\x1b[2J\x00: ;#%%{}`\u202e" + strings.Repeat("x", 500)
	line := New(desk.History{OrderID: evil, ReadAt: at(9).AsTime(), Events: []*historypb.HistoryEvent{
		started(t, coffee.Drink(evil)), scheduled(5, 1, evil),
		{EventId: 6, EventTime: at(2), EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
			WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{SignalName: coffee.SignalCancelOrder, Input: payload(t, coffee.CancelRequest{Reason: evil})}}},
	}})
	var text, svg, mermaid bytes.Buffer
	if err := errors.Join(line.WriteText(&text, timeline.TextOptions{Width: 80, Events: true}), line.WriteSVG(&svg), line.WriteMermaid(&mermaid)); err != nil {
		t.Fatal(err)
	}
	checkText(t, text.String(), 80)
	checkXML(t, svg.Bytes())
	if strings.Contains(svg.String(), "<script") || strings.Contains(svg.String(), "\x1b") {
		t.Error("the picture has markup in it that is not its own")
	}
	if strings.ContainsAny(mermaid.String(), "<;#\x1b`") {
		t.Errorf("the chart has markup in it: %s", mermaid.String())
	}
}

func checkXML(t testing.TB, data []byte) {
	t.Helper()
	decoder := xml.NewDecoder(bytes.NewReader(data))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
	}
}

// TestColour adds nothing but colour.
func TestColour(t *testing.T) {
	for name, history := range readHistories(t) {
		line := New(desk.History{OrderID: "123", Events: history.GetEvents(), ReadAt: time.Now()})
		var plain, coloured bytes.Buffer
		if err := errors.Join(line.WriteText(&plain, timeline.TextOptions{}), line.WriteText(&coloured, timeline.TextOptions{Colour: true})); err != nil {
			t.Fatal(err)
		}
		stripped := regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(coloured.String(), "")
		if stripped != plain.String() {
			t.Errorf("%s: with colour it says\n%s\nand without\n%s", name, stripped, plain.String())
		}
		if len(line.Rows) > 0 && coloured.String() == stripped {
			t.Errorf("%s has no colour", name)
		}
	}
}

// TestAnyHistory: any history can be drawn.
func TestAnyHistory(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for name, history := range readHistories(t) {
		events := history.GetEvents()
		for n := range len(events) + 1 { // cut short
			draw(t, desk.History{OrderID: name, Events: events[:n], ReadAt: time.Now()})
		}
		for range 200 {
			var mixed []*historypb.HistoryEvent
			for range random.IntN(2 * len(events)) {
				event := proto.CloneOf(events[random.IntN(len(events))])
				switch random.IntN(8) {
				case 0:
					event.EventTime = nil
				case 1:
					event.EventTime = at(float64(random.IntN(100_000_000)))
				case 2:
					event.EventType = enumspb.EventType(random.IntN(80))
				case 3:
					event.Attributes = nil
				case 4:
					event.Attributes = events[random.IntN(len(events))].GetAttributes()
				}
				mixed = append(mixed, event)
			}
			pending := &workflowpb.PendingActivityInfo{ActivityId: "5", Attempt: random.Int32N(30), State: enumspb.PendingActivityState(random.IntN(4))}
			draw(t, desk.History{OrderID: name, Events: mixed, Pending: []*workflowpb.PendingActivityInfo{pending, nil}})
		}
	}
}

func draw(t testing.TB, history desk.History) {
	line := New(history)
	var text, svg bytes.Buffer
	if err := errors.Join(line.WriteText(&text, timeline.TextOptions{Width: 70, Events: true}), line.WriteSVG(&svg), line.WriteMermaid(io.Discard)); err != nil {
		t.Fatal(err)
	}
	checkText(t, text.String(), 70)
	checkXML(t, svg.Bytes())
	if _, err := json.Marshal(line); err != nil {
		t.Fatal(err)
	}
}

// TestLateCancelWhileRunning: a cancel that comes when the receipt is scheduled is
// too late, also while the order is still running; one that comes before is not.
func TestLateCancelWhileRunning(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]bool{"completed_cancel_too_late": true, "cancelled_while_brewing": false} {
		events := readHistories(t)[name].GetEvents()
		running := desk.History{OrderID: "123", Events: events[:len(events)-1]} // without the event that ends it
		cancels := 0
		for _, row := range New(running).Rows {
			if row.Name != "cancel" {
				continue
			}
			cancels++
			if got := strings.HasPrefix(row.Outcome, "too late"); got != late {
				t.Errorf("%s: the cancel says %q", name, row.Outcome)
			}
		}
		if cancels == 0 {
			t.Errorf("%s: no cancel", name)
		}
	}
}
