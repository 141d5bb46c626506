// Package timeline turns the history of a workflow, whatever it is and whoever ran it,
// into rows: one for each activity with its attempts and the backoffs between them, for
// each timer, child workflow, update and Nexus operation, for each event from outside, and
// for each time that a task waited for a worker.
//
// [Fetch] reads a history from a server, and [New] is a pure function of it: it reads as
// much of any history as it understands, and shows an event that it does not know by its
// type. The rest of the package draws the rows: as text (text.go), as a picture (svg.go),
// and for documents (mermaid.go). More rows than one can read are folded (fold.go).
//
// Temporal records the last attempt of an activity only. [Recorder] has the activities of a
// worker hand on what the earlier ones did.
package timeline

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/coffee/internal/text"
)

// History is everything that a server has recorded about a run of a workflow.
type History struct {
	WorkflowID string
	RunID      string
	Events     []*historypb.HistoryEvent
	// PendingActivities and PendingNexusOperations are those in progress, of which the
	// history has an attempt only when they are over.
	PendingActivities      []*workflowpb.PendingActivityInfo
	PendingNexusOperations []*workflowpb.PendingNexusOperationInfo
	// Waiting is why a task waits, if more is known than that no worker has taken it.
	Waiting string
	// ReadAt is when the history was read: how long what it has not seen end has lasted.
	ReadAt time.Time
}

// Fetch reads the history of a run, or of the latest one if runID is empty. It needs no
// worker. It returns the client's error, which is a *serviceerror.NotFound if there is no
// such run.
func Fetch(ctx context.Context, c client.Client, workflowID, runID string) (History, error) {
	described, err := c.DescribeWorkflowExecution(ctx, workflowID, runID)
	if err != nil {
		return History{}, err
	}
	h := History{WorkflowID: workflowID, RunID: described.GetWorkflowExecutionInfo().GetExecution().GetRunId(), ReadAt: time.Now(),
		PendingActivities: described.GetPendingActivities(), PendingNexusOperations: described.GetPendingNexusOperations()}
	events := c.GetWorkflowHistory(ctx, workflowID, h.RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return History{}, err
		}
		h.Events = append(h.Events, event)
	}
	return h, nil
}

// FromJSON reads a history as "temporal workflow show --output json" writes it and as
// Temporal's Web UI lets one download it: the events may be alone, and the newest may be the
// first. The history is taken to have been read when its last event happened. FromJSON
// returns an error if it is not a history, or if its payloads are decoded.
func FromJSON(r io.Reader) (History, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return History{}, err
	}
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")) {
		raw = slices.Concat([]byte(`{"events":`), raw, []byte("}"))
	}
	decoded, err := client.HistoryFromJSON(bytes.NewReader(raw), client.HistoryJSONOptions{})
	switch {
	case err != nil && strings.Contains(err.Error(), "invalid value for bytes type"):
		return History{}, errors.New("its payloads are decoded: download it as it is, or write it with temporal workflow show -o json")
	case err != nil:
		return History{}, fmt.Errorf("it is not the history of a workflow in JSON: %s", sourceFile.ReplaceAllString(err.Error(), ""))
	}
	events := decoded.GetEvents()
	if len(events) == 0 {
		return History{}, errors.New("it has no events")
	}
	slices.SortStableFunc(events, func(a, b *historypb.HistoryEvent) int { return cmp.Compare(a.GetEventId(), b.GetEventId()) })
	started := events[0].GetWorkflowExecutionStartedEventAttributes()
	return History{WorkflowID: started.GetWorkflowId(), RunID: started.GetOriginalExecutionRunId(), Events: events, ReadAt: asTime(events[len(events)-1].GetEventTime())}, nil
}

// sourceFile matches what names a source file of the program in an error of the decoder.
var sourceFile = regexp.MustCompile(`\S+\.go:\d+:?\s*`)

// Type returns the type of the workflow; empty if the history does not say so.
func (h History) Type() string {
	if len(h.Events) == 0 {
		return ""
	}
	return h.Events[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowType().GetName()
}

// Timeline is the history of a run, as rows.
type Timeline struct {
	WorkflowID string `json:"workflow_id,omitempty"`
	RunID      string `json:"run_id,omitempty"`
	// Type is that of the workflow.
	Type string `json:"type,omitempty"`
	// Title is what a drawing is called.
	Title string `json:"-"`
	// Status is RUNNING, or how the run ended: COMPLETED, FAILED, CANCELED, TERMINATED,
	// TIMED_OUT or CONTINUED_AS_NEW.
	Status string `json:"status,omitempty"`
	// Ending is how it ended, in words; empty while it runs.
	Ending    string    `json:"ending,omitempty"`
	StartedAt time.Time `json:"started_at"`
	// EndedAt is zero while the workflow runs.
	EndedAt time.Time `json:"ended_at,omitzero"`
	// ReadAt is when the history was read, on the workflow's clock.
	ReadAt time.Time `json:"-"`
	// Skips are the times that were skipped (TimeSkippingConfig). All other times are those
	// of the workflow's clock, which such a skip moves ahead.
	Skips []Skip `json:"skips,omitempty"`
	Rows  []Row  `json:"rows"`
}

// Skip is a time that passed on the workflow's clock only.
type Skip struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// Row is one part of a timeline.
type Row struct {
	Kind Kind `json:"kind"`
	// Name says in a word or two what it is.
	Name  string    `json:"name"`
	Start time.Time `json:"start"`
	// End is zero while the row is in progress, and equal to Start for a moment.
	End     time.Time `json:"end,omitzero"`
	State   State     `json:"state"`
	Outcome string    `json:"outcome,omitempty"`
	// Estimated is true if Start and End are estimates. Temporal records the
	// beginning of the last attempt only. If the worker could not hand on those of
	// the earlier attempts ([Attempt]), they follow from the retry policy, as if all
	// of them had taken equally long.
	Estimated bool `json:"estimated,omitempty"`
	// Events are the events in Temporal's history that the row comes from.
	Events []Event `json:"events,omitempty"`
}

// Kind is what a row is about.
type Kind string

// The kinds of rows. Attempts, backoffs and waits belong to the step above them.
const (
	KindStep    Kind = "step" // an activity
	KindAttempt Kind = "attempt"
	KindBackoff Kind = "backoff"
	KindWait    Kind = "wait" // for a worker
	KindTimer   Kind = "timer"
	KindChild   Kind = "child" // a child workflow
	KindNexus   Kind = "nexus" // a Nexus operation
	KindUpdate  Kind = "update"
	KindMoment  Kind = "moment" // something that came from outside, or that a worker did at once
	KindMark    Kind = "mark"   // what a worker has noted: a side effect, a version, a local activity, a search attribute
)

// State is the state of a row.
type State string

// The states of a row.
const (
	StateOK        State = "ok"
	StateFailed    State = "failed"
	StateCancelled State = "cancelled"
	StateRunning   State = "running"
	StateWaiting   State = "waiting"
)

// Event is an event of a history.
type Event struct {
	ID   int64     `json:"id"`
	Type string    `json:"type"`
	Time time.Time `json:"time"`
}

// patience is how long a task may wait for a worker before the wait gets a row of
// its own.
const patience = time.Second

// Words are what a program calls what its workflows do. The zero value calls an activity by
// its type, and says of one that is completed that it is done.
type Words struct {
	// Name returns what an activity of a type is called; empty means its type.
	Name func(activityType string) string
	// Done returns what an activity has done, by the events of its schedule and its
	// completion; empty means done.
	Done func(scheduled, completed *historypb.HistoryEvent) string
}

// New returns the timeline of a history.
func New(history History) Timeline { return Words{}.New(history) }

// New returns the timeline of a history, in these words.
func (w Words) New(history History) Timeline {
	title := text.Printable(text.Clip(history.WorkflowID, text.MaxName))
	r := &reader{
		timeline: Timeline{WorkflowID: history.WorkflowID, RunID: history.RunID, Title: title, Status: status(enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING), ReadAt: history.ReadAt, Rows: []Row{}},
		words:    w,
		steps:    map[int64]*step{},
		begun:    map[int64]*part{},
	}
	for _, event := range history.Events {
		r.read(event)
	}
	r.timeline.ReadAt = r.timeline.ReadAt.Add(r.timeline.Skipped())
	r.pending(history)
	return r.finish(history.Waiting)
}

// status is how the server calls how a run is, in capitals and without the prefix.
func status(s enumspb.WorkflowExecutionStatus) string {
	return strings.ToUpper(strings.ReplaceAll(spaced(s.String()), " ", "_"))
}

// Skipped returns how much time was skipped.
func (t Timeline) Skipped() (sum time.Duration) {
	for _, skip := range t.Skips {
		sum += skip.Until.Sub(skip.From)
	}
	return sum
}

const (
	waitName       = "waiting"
	waitOutcome    = "waited for a worker"
	waitingOutcome = "waiting for a worker"
)

// Summary returns how the run ended and how long it took, or how long it has been
// running. If time was skipped it says both: how long that was on the workflow's clock,
// and how long in fact.
func (t Timeline) Summary() string {
	took := t.Until().Sub(t.StartedAt)
	inWords := Duration(took)
	if skipped := t.Skipped(); skipped > 0 {
		inWords += " on its clock, " + Duration(took-skipped) + " in fact"
	}
	if t.EndedAt.IsZero() {
		return "running for " + inWords
	}
	return text.Printable(t.Ending) + " after " + inWords
}

// Until returns when the run ended, or when its history was read if it is under way.
func (t Timeline) Until() time.Time {
	if t.EndedAt.IsZero() {
		return t.ReadAt
	}
	return t.EndedAt
}

// Duration formats a duration in at most seven characters: 25 ms, 0.5 s, 2m03s,
// 3h04m, 2d05h.
func Duration(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(d, 0); {
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	case d < 1000*day:
		return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
	}
	return "1000d+"
}

// asTime returns the time of a message; zero if it has none, or one that no calendar has.
func asTime(t *timestamppb.Timestamp) time.Time {
	if t == nil || t.CheckValid() != nil || t.AsTime().Year() > lastYear {
		return time.Time{}
	}
	return t.AsTime()
}

// lastYear leaves room for what is added to a time before it is written as JSON, which
// knows no year after 9999.
const lastYear = 9000
