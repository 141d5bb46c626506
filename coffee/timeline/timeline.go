// Package timeline turns the history of an order into rows: one for each step, for
// each attempt and the backoff after it, for each event from outside, and for each
// time without a worker.
//
// [New] is a pure function. It reads as much of a history as it understands. The
// rest of the package draws the rows: as text (text.go), as a picture (svg.go), and
// for documents (mermaid.go).
package timeline

import (
	"fmt"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/coffee/coffee"
)

// Timeline is the history of an order, as rows.
type Timeline struct {
	OrderID     string       `json:"order_id"`
	Drink       coffee.Drink `json:"drink,omitempty"`
	Size        coffee.Size  `json:"size,omitempty"`
	AmountCents coffee.Cents `json:"amount_cents,omitempty"`
	// Status is RUNNING, or how the order ended; empty if its workflow ended
	// without a result.
	Status coffee.OrderStatus `json:"status,omitempty"`
	// Ending is how it ended, in words; empty while it runs.
	Ending    string    `json:"ending,omitempty"`
	StartedAt time.Time `json:"started_at"`
	// EndedAt is zero while the order runs.
	EndedAt time.Time `json:"ended_at,omitzero"`
	// ReadAt is when the history was read.
	ReadAt time.Time `json:"-"`
	Rows   []Row     `json:"rows"`
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
	// beginning of the last attempt only. The times of the earlier attempts follow
	// from the retry policy, if all of them took equally long.
	Estimated bool `json:"estimated,omitempty"`
	// Events are the events in Temporal's history that the row comes from.
	Events []Event `json:"events,omitempty"`
}

// Kind is what a row is about.
type Kind string

// The kinds of rows. Attempts, backoffs and waits belong to the step above them.
const (
	KindStep    Kind = "step"
	KindAttempt Kind = "attempt"
	KindBackoff Kind = "backoff"
	KindWait    Kind = "wait"   // for a worker
	KindMoment  Kind = "moment" // something that came from outside
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

// New returns the timeline of a history.
func New(history coffee.History) Timeline {
	r := &reader{
		timeline: Timeline{OrderID: history.OrderID, Status: coffee.StatusRunning, ReadAt: history.ReadAt, Rows: []Row{}},
		steps:    map[int64]*step{},
	}
	for _, event := range history.Events {
		r.read(event)
	}
	r.pending(history.Pending)
	return r.finish()
}

// reader follows an order through its events.
type reader struct {
	timeline Timeline
	parts    []part // in the order in which they began
	steps    map[int64]*step
	task     *historypb.HistoryEvent // the workflow task that is scheduled but not started
	// receiptAt is when the receipt was first scheduled; zero if it was not.
	receiptAt time.Time
}

// part is one row, or a step with the rows that belong to it.
type part interface{ rows(readAt time.Time) []Row }

type single Row

func (s single) rows(time.Time) []Row { return []Row{Row(s)} }

func (r *reader) read(event *historypb.HistoryEvent) {
	if r.timeline.StartedAt.IsZero() {
		r.timeline.StartedAt = when(event.GetEventTime())
	}
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		if request, ok := coffee.DecodeRequest(event.GetWorkflowExecutionStartedEventAttributes().GetInput()); ok {
			r.timeline.Drink, r.timeline.Size = request.Drink, request.Size
		}
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
		r.task = event
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:
		r.waited(event)
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
		if event.GetWorkflowTaskTimedOutEventAttributes().GetTimeoutType() == enumspb.TIMEOUT_TYPE_START_TO_CLOSE {
			r.moment(event, "worker lost", StateFailed, "it did not answer in time")
		} else {
			r.waited(event) // for the worker that knew the order
		}
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
		attributes := event.GetWorkflowTaskFailedEventAttributes()
		if attributes.GetCause() == enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW {
			r.moment(event, "reset", StateWaiting, "back to this point")
		} else {
			r.moment(event, "worker failed", StateFailed, message(attributes.GetFailure()))
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		r.signal(event)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		r.moment(event, cancelName, StateCancelled, "through Temporal")
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		r.schedule(event)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
		r.steps[event.GetActivityTaskStartedEventAttributes().GetScheduledEventId()].start(event)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED:
		r.steps[event.GetActivityTaskCancelRequestedEventAttributes().GetScheduledEventId()].end(event, StateCancelled, "cancelled")
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		attributes := event.GetActivityTaskCompletedEventAttributes()
		s := r.steps[attributes.GetScheduledEventId()]
		s.end(event, StateOK, s.done(attributes.GetResult()))
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		attributes := event.GetActivityTaskFailedEventAttributes()
		r.steps[attributes.GetScheduledEventId()].fail(event, attributes.GetFailure(), attributes.GetRetryState())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		attributes := event.GetActivityTaskTimedOutEventAttributes()
		r.steps[attributes.GetScheduledEventId()].fail(event, attributes.GetFailure(), attributes.GetRetryState())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		r.steps[event.GetActivityTaskCanceledEventAttributes().GetScheduledEventId()].end(event, StateCancelled, "cancelled")
	default:
		r.close(event)
	}
}

// waited adds a row if a workflow task has waited for a worker for longer than
// patience.
func (r *reader) waited(until *historypb.HistoryEvent) {
	if r.task == nil {
		return
	}
	from, to := when(r.task.GetEventTime()), when(until.GetEventTime())
	if to.Sub(from) > patience {
		r.parts = append(r.parts, single{Kind: KindWait, Name: waitName, Start: from, End: to, State: StateWaiting, Outcome: waitOutcome, Events: events(r.task, until)})
	}
	r.task = nil
}

const (
	waitName    = "no worker"
	waitOutcome = "waited for a worker"
)

func (r *reader) moment(event *historypb.HistoryEvent, name string, state State, outcome string) {
	at := when(event.GetEventTime())
	r.parts = append(r.parts, single{Kind: KindMoment, Name: name, Start: at, End: at, State: state, Outcome: outcome, Events: events(event)})
}

func (r *reader) signal(event *historypb.HistoryEvent) {
	attributes := event.GetWorkflowExecutionSignaledEventAttributes()
	if name := attributes.GetSignalName(); name != coffee.SignalCancelOrder {
		r.moment(event, "signal", StateOK, clip(name, 60))
		return
	}
	outcome := "by signal"
	var request coffee.CancelRequest
	if decode(attributes.GetInput(), &request) && request.Reason != "" {
		outcome += ": " + clip(request.Reason, 200)
	}
	r.moment(event, cancelName, StateCancelled, outcome)
}

// cancelName is what a request to cancel is called.
const cancelName = "cancel"

// tooLate reports whether a request to cancel changed nothing: the receipt had been
// scheduled, or the order had failed, or an earlier run had handed out the coffee.
func (r *reader) tooLate(cancel single) bool {
	if !r.timeline.EndedAt.IsZero() {
		return r.timeline.Status == coffee.StatusCompleted || r.timeline.Status == coffee.StatusFailed
	}
	return !r.receiptAt.IsZero() && !cancel.Start.Before(r.receiptAt)
}

func (r *reader) schedule(event *historypb.HistoryEvent) {
	attributes := event.GetActivityTaskScheduledEventAttributes()
	s := &step{activity: attributes.GetActivityType().GetName(), id: attributes.GetActivityId(), policy: attributes.GetRetryPolicy(),
		scheduled: when(event.GetEventTime()), events: events(event)}
	var charge coffee.ChargeInput
	if s.activity == coffee.ActivityChargeCustomer && decode(attributes.GetInput(), &charge) {
		s.amount = charge.AmountCents
		r.timeline.AmountCents = charge.AmountCents
	}
	if s.activity == coffee.ActivitySendReceipt && r.receiptAt.IsZero() {
		r.receiptAt = s.scheduled
	}
	if s.activity == coffee.ActivityRefundCustomer {
		s.amount = r.timeline.AmountCents
	}
	r.steps[event.GetEventId()] = s
	r.parts = append(r.parts, s)
}

// close reads the events that end a workflow.
func (r *reader) close(event *historypb.HistoryEvent) {
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		result, ok := coffee.DecodeResult(event.GetWorkflowExecutionCompletedEventAttributes().GetResult())
		if !ok {
			r.end(event, "", "ended with a result that is not an order's")
			return
		}
		r.timeline.AmountCents = result.AmountCents
		ending := strings.ToLower(string(result.Status))
		if result.Refunded {
			ending += ", " + result.AmountCents.String() + " refunded"
		}
		r.end(event, result.Status, ending)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		r.end(event, "", "ended without a result: "+message(event.GetWorkflowExecutionFailedEventAttributes().GetFailure()))
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		r.end(event, "", "ended without a result: the workflow timed out")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		r.end(event, "", strings.TrimSuffix("terminated: "+clip(event.GetWorkflowExecutionTerminatedEventAttributes().GetReason(), 200), ": "))
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		r.end(event, "", "ended without a result: the workflow was cancelled")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		r.end(event, "", "continued in another run")
	}
}

func (r *reader) end(event *historypb.HistoryEvent, status coffee.OrderStatus, ending string) {
	r.timeline.Status, r.timeline.Ending = status, ending
	r.timeline.EndedAt = when(event.GetEventTime())
}

// pending adds what the history does not have yet: the progress of the steps under
// way.
func (r *reader) pending(activities []*workflowpb.PendingActivityInfo) {
	for _, info := range activities {
		for _, s := range r.steps {
			if s.id == info.GetActivityId() && s.ended.IsZero() {
				s.pending = info
			}
		}
	}
}

func (r *reader) finish() Timeline {
	t := r.timeline
	if r.task != nil && t.EndedAt.IsZero() && t.ReadAt.Sub(when(r.task.GetEventTime())) > patience {
		r.parts = append(r.parts, single{Kind: KindWait, Name: waitName, Start: when(r.task.GetEventTime()), State: StateWaiting,
			Outcome: "waiting for a worker", Events: events(r.task)})
	}
	var parts [][]Row
	for _, p := range r.parts {
		if cancel, ok := p.(single); ok && cancel.Name == cancelName && r.tooLate(cancel) {
			cancel.State, cancel.Outcome = StateWaiting, "too late, "+cancel.Outcome
			p = cancel
		}
		parts = append(parts, p.rows(t.ReadAt))
	}
	// What arrived while a worker was busy comes after what the worker did in the
	// history.
	slices.SortStableFunc(parts, func(a, b []Row) int { return a[0].Start.Compare(b[0].Start) })
	t.Rows = append(t.Rows, slices.Concat(parts...)...)
	if !t.EndedAt.IsZero() { // what the order no longer waited for
		for i := range t.Rows {
			if t.Rows[i].End.IsZero() {
				t.Rows[i].End, t.Rows[i].State, t.Rows[i].Outcome = t.EndedAt, StateCancelled, "the order ended"
			}
		}
	}
	return t
}

// Order returns a title: the order id, what was ordered, and the price.
func (t Timeline) Order() string {
	title := "Order " + coffee.Printable(t.OrderID)
	if t.Drink != "" {
		title += ": " + coffee.Printable(clip(string(t.Drink), 40))
		if t.Size != "" {
			title += fmt.Sprintf(" (%s)", coffee.Printable(clip(string(t.Size), 10)))
		}
	}
	if t.AmountCents != 0 {
		title += ", " + t.AmountCents.String()
	}
	return title
}

// Summary returns how the order ended and how long it took, or how long it has been
// running.
func (t Timeline) Summary() string {
	if t.EndedAt.IsZero() {
		return "running for " + Duration(t.ReadAt.Sub(t.StartedAt))
	}
	return coffee.Printable(t.Ending) + " after " + Duration(t.EndedAt.Sub(t.StartedAt))
}

// Until returns when the order ended, or when its history was read if it is
// running.
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

func events(all ...*historypb.HistoryEvent) (list []Event) {
	for _, event := range all {
		list = append(list, Event{ID: event.GetEventId(), Type: typeName(event.GetEventType()), Time: when(event.GetEventTime())})
	}
	return list
}

// typeName returns an event type as the Web UI shows it: ActivityTaskScheduled. For
// a type that this program is too old to know, it returns the number.
func typeName(t enumspb.EventType) string { return t.String() }

func when(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// message returns what the root cause of a failure says.
func message(failure *failurepb.Failure) string {
	for failure.GetCause() != nil {
		failure = failure.GetCause()
	}
	if timeout := failure.GetTimeoutFailureInfo(); timeout != nil {
		switch timeout.GetTimeoutType() {
		case enumspb.TIMEOUT_TYPE_HEARTBEAT:
			return "worker lost: no heartbeat"
		case enumspb.TIMEOUT_TYPE_START_TO_CLOSE:
			return "took longer than its timeout"
		}
		return "timed out"
	}
	return clip(failure.GetMessage(), 200)
}

// decode decodes the first payload, and reports whether that worked.
func decode(payloads *commonpb.Payloads, into any) bool {
	return len(payloads.GetPayloads()) > 0 && converter.GetDefaultDataConverter().FromPayload(payloads.GetPayloads()[0], into) == nil
}

// clip cuts s to at most n characters.
func clip(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}
