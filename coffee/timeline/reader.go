package timeline

import (
	"cmp"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/text"
)

// reader follows an order through its events.
type reader struct {
	timeline Timeline
	parts    []part                  // in the order in which they began
	steps    map[int64]*step         // by the id of the scheduling event
	task     *historypb.HistoryEvent // the workflow task that is scheduled but not started
	// receiptAt is when the receipt was first scheduled; zero if it was not.
	receiptAt time.Time
}

// part is one row, or a step with the rows that belong to it.
type part struct {
	Row
	step *step // nil for a row
}

func (r *reader) read(event *historypb.HistoryEvent) {
	if r.timeline.StartedAt.IsZero() {
		r.timeline.StartedAt = desk.AsTime(event.GetEventTime())
	}
	if s := r.steps[desk.ScheduledBy(event)]; s != nil {
		s.read(event)
		return
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
		switch attributes.GetCause() {
		case enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND: // news came when the task was done
		case enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW:
			r.moment(event, "reset", StateWaiting, "back to this point")
		case enumspb.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR:
			r.moment(event, "worker failed", StateFailed, "nondeterminism error")
		default:
			r.moment(event, "worker failed", StateFailed, message(attributes.GetFailure()))
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		r.signal(event)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		r.moment(event, cancelName, StateCancelled, "through Temporal")
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		r.schedule(event)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED:
		r.skip(event)
	default:
		r.close(event)
	}
}

func (r *reader) skip(event *historypb.HistoryEvent) {
	from, until := desk.AsTime(event.GetEventTime()), desk.AsTime(event.GetWorkflowExecutionTimeSkippingTransitionedEventAttributes().GetTargetTime())
	if until.After(from) { // otherwise the event says only that no more will be skipped
		r.timeline.Skips = append(r.timeline.Skips, Skip{from, until})
	}
}

// waited adds a row if a workflow task has waited for a worker for longer than
// patience.
func (r *reader) waited(until *historypb.HistoryEvent) {
	if r.task == nil {
		return
	}
	from, to := desk.AsTime(r.task.GetEventTime()), desk.AsTime(until.GetEventTime())
	if to.Sub(from) > patience {
		r.row(Row{Kind: KindWait, Name: waitName, Start: from, End: to, State: StateWaiting, Outcome: waitOutcome, Events: events(r.task, until)})
	}
	r.task = nil
}

func (r *reader) row(row Row) { r.parts = append(r.parts, part{Row: row}) }

func (r *reader) moment(event *historypb.HistoryEvent, name string, state State, outcome string) {
	at := desk.AsTime(event.GetEventTime())
	r.row(Row{Kind: KindMoment, Name: name, Start: at, End: at, State: state, Outcome: outcome, Events: events(event)})
}

func (r *reader) signal(event *historypb.HistoryEvent) {
	attributes := event.GetWorkflowExecutionSignaledEventAttributes()
	if name := attributes.GetSignalName(); name != coffee.SignalCancelOrder {
		r.moment(event, "signal", StateOK, text.Clip(name, 60))
		return
	}
	outcome := "by signal"
	if reason := coffee.CancelReason(coffee.FirstPayload(attributes.GetInput())); reason != "" {
		outcome += ": " + text.Clip(reason, 200)
	}
	r.moment(event, cancelName, StateCancelled, outcome)
}

// cancelName is what a request to cancel is called.
const cancelName = "cancel"

// tooLate reports whether a request to cancel changed nothing: the receipt had been
// scheduled, or the order had failed, or an earlier run had handed out the coffee.
func (r *reader) tooLate(cancel Row) bool {
	if !r.timeline.EndedAt.IsZero() {
		return r.timeline.Status == coffee.StatusCompleted || r.timeline.Status == coffee.StatusFailed
	}
	return !r.receiptAt.IsZero() && !cancel.Start.Before(r.receiptAt)
}

func (r *reader) schedule(event *historypb.HistoryEvent) {
	attributes := event.GetActivityTaskScheduledEventAttributes()
	s := &step{activity: attributes.GetActivityType().GetName(), id: attributes.GetActivityId(), policy: attributes.GetRetryPolicy(),
		scheduled: desk.AsTime(event.GetEventTime()), events: events(event),
		startToClose: attributes.GetStartToCloseTimeout().AsDuration(), heartbeat: attributes.GetHeartbeatTimeout().AsDuration()}
	var charge coffee.ChargeInput
	switch {
	case s.activity == coffee.ActivityChargeCustomer && coffee.Decode(coffee.FirstPayload(attributes.GetInput()), &charge):
		r.timeline.AmountCents = charge.AmountCents
	case s.activity == coffee.ActivitySendReceipt && r.receiptAt.IsZero():
		r.receiptAt = s.scheduled
	}
	s.amount = r.timeline.AmountCents
	r.steps[event.GetEventId()] = s
	r.parts = append(r.parts, part{step: s})
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
		r.end(event, "", strings.TrimSuffix("terminated: "+text.Clip(event.GetWorkflowExecutionTerminatedEventAttributes().GetReason(), 200), ": "))
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		r.end(event, "", "ended without a result: the workflow was cancelled")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		r.end(event, "", "continued in another run")
	}
}

func (r *reader) end(event *historypb.HistoryEvent, status coffee.OrderStatus, ending string) {
	r.timeline.Status, r.timeline.Ending = status, ending
	r.timeline.EndedAt = desk.AsTime(event.GetEventTime())
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

// finish puts the rows together. A wait that lasts says why, if that is known.
func (r *reader) finish(why string) Timeline {
	t := r.timeline
	if since := desk.AsTime(r.task.GetEventTime()); r.task != nil && t.EndedAt.IsZero() && t.ReadAt.Sub(since) > patience {
		r.row(Row{Kind: KindWait, Name: waitName, Start: since, State: StateWaiting, Outcome: waitingOutcome, Events: events(r.task)})
	}
	var parts [][]Row
	for _, p := range r.parts {
		rows := []Row{p.Row}
		if p.step != nil {
			rows = p.step.rows(t.ReadAt)
		} else if p.Name == cancelName && r.tooLate(p.Row) {
			rows[0].State, rows[0].Outcome = StateWaiting, "too late, "+p.Outcome
		}
		parts = append(parts, rows)
	}
	// What arrived while a worker was busy comes after what the worker did in the
	// history.
	slices.SortStableFunc(parts, func(a, b []Row) int { return a[0].Start.Compare(b[0].Start) })
	t.Rows = append(t.Rows, slices.Concat(parts...)...)
	for i := range t.Rows {
		row := &t.Rows[i]
		if row.Outcome == waitingOutcome {
			row.Outcome = cmp.Or(why, waitingOutcome)
		}
		if !t.EndedAt.IsZero() && row.End.IsZero() { // what the order no longer waited for
			row.End, row.State, row.Outcome = t.EndedAt, StateCancelled, "the order ended"
		}
	}
	return t
}

func events(all ...*historypb.HistoryEvent) (list []Event) {
	for _, event := range all {
		list = append(list, Event{ID: event.GetEventId(), Type: event.GetEventType().String(), Time: desk.AsTime(event.GetEventTime())})
	}
	return list
}

// message returns what the root cause of a failure says.
func message(failure *failurepb.Failure) string {
	for failure.GetCause() != nil {
		failure = failure.GetCause()
	}
	if timeout := failure.GetTimeoutFailureInfo(); timeout != nil {
		return timeoutInWords(timeout.GetTimeoutType())
	}
	return text.Clip(failure.GetMessage(), 200)
}

func timeoutInWords(kind enumspb.TimeoutType) string {
	switch kind {
	case enumspb.TIMEOUT_TYPE_HEARTBEAT:
		return "heartbeat timeout: no sign of life"
	case enumspb.TIMEOUT_TYPE_START_TO_CLOSE:
		return "start-to-close timeout"
	}
	return "timed out"
}
