package timeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"

	"example.com/coffee/internal/text"
)

// reader follows a workflow through its events.
type reader struct {
	timeline Timeline
	words    Words
	parts    []*part                 // in the order in which they began
	steps    map[int64]*step         // activities, by the id of the event that scheduled them
	begun    map[int64]*part         // what else takes a while, by the id of the event that began it
	delay    *part                   // before the first workflow task; nil if there is none
	task     *historypb.HistoryEvent // the workflow task that is scheduled but not started
}

func (r *reader) read(event *historypb.HistoryEvent) {
	if r.timeline.StartedAt.IsZero() {
		r.timeline.StartedAt = asTime(event.GetEventTime())
	}
	if began := beganWith(event); began != 0 {
		if s := r.steps[began]; s != nil {
			s.read(event)
			return
		}
		if p := r.begun[began]; p != nil {
			p.read(event)
			return
		}
	}
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		r.start(event)
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
		r.task = event
		if r.delay != nil && r.delay.End.IsZero() {
			r.delay.State, r.delay.End = StateOK, asTime(event.GetEventTime())
		}
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:
		r.waited(event)
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
		if event.GetWorkflowTaskTimedOutEventAttributes().GetTimeoutType() == enumspb.TIMEOUT_TYPE_START_TO_CLOSE {
			r.moment(event, "worker lost", StateFailed, "it did not answer in time")
		} else {
			r.waited(event) // for the worker that knew the workflow
		}
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
		r.taskFailed(event)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		r.moment(event, "signal", StateOK, event.GetWorkflowExecutionSignaledEventAttributes().GetSignalName())
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		r.moment(event, "cancel", StateCancelled, cmp.Or(event.GetWorkflowExecutionCancelRequestedEventAttributes().GetCause(), "requested"))
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		s := newStep(event, r.words)
		r.steps[event.GetEventId()] = s
		r.parts = append(r.parts, &part{step: s})
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED:
		r.skip(event)
	default:
		if !r.close(event) && !r.begin(event) {
			r.other(event)
		}
	}
}

// start reads the event that starts the run.
func (r *reader) start(event *historypb.HistoryEvent) {
	attributes := event.GetWorkflowExecutionStartedEventAttributes()
	r.timeline.Type = text.Clip(attributes.GetWorkflowType().GetName(), text.MaxName)
	r.timeline.Title = strings.TrimSuffix(r.timeline.Title+": "+text.Printable(r.timeline.Type), ": ")
	if before := attributes.GetContinuedExecutionRunId(); before != "" {
		why := map[enumspb.ContinueAsNewInitiator]string{enumspb.CONTINUE_AS_NEW_INITIATOR_RETRY: "another attempt after ", enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE: "by its cron schedule after "}
		r.moment(event, "continued", StateOK, cmp.Or(why[attributes.GetInitiator()], "from ")+"run "+before)
	}
	if delay := attributes.GetFirstWorkflowTaskBackoff().AsDuration(); delay > 0 {
		r.delay = &part{Row: Row{Kind: KindTimer, Name: "start delay", Start: asTime(event.GetEventTime()), State: StateWaiting, Outcome: "of " + Duration(delay), Events: events(event)}}
		r.parts = append(r.parts, r.delay)
	}
}

func (r *reader) skip(event *historypb.HistoryEvent) {
	from, until := asTime(event.GetEventTime()), asTime(event.GetWorkflowExecutionTimeSkippingTransitionedEventAttributes().GetTargetTime())
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
	from, to := asTime(r.task.GetEventTime()), asTime(until.GetEventTime())
	if to.Sub(from) > patience {
		r.row(Row{Kind: KindWait, Name: waitName, Start: from, End: to, State: StateWaiting, Outcome: waitOutcome, Events: events(r.task, until)})
	}
	r.task = nil
}

func (r *reader) taskFailed(event *historypb.HistoryEvent) {
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
}

func (r *reader) row(row Row) { r.parts = append(r.parts, &part{Row: row}) }

func (r *reader) moment(event *historypb.HistoryEvent, name string, state State, outcome string) {
	r.at(KindMoment, event, name, state, outcome)
}

func (r *reader) at(kind Kind, event *historypb.HistoryEvent, name string, state State, outcome string) {
	at := asTime(event.GetEventTime())
	r.row(Row{Kind: kind, Name: text.Clip(name, text.MaxName), Start: at, End: at, State: state, Outcome: text.Clip(outcome, text.MaxText), Events: events(event)})
}

// close reads the events that end a workflow. It reports whether this is one.
func (r *reader) close(event *historypb.HistoryEvent) bool {
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		r.end(event, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED, "completed")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		r.end(event, enumspb.WORKFLOW_EXECUTION_STATUS_FAILED, "failed: "+message(event.GetWorkflowExecutionFailedEventAttributes().GetFailure()))
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		r.end(event, enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT, "timed out")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		r.end(event, enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED, strings.TrimSuffix("terminated: "+text.Clip(event.GetWorkflowExecutionTerminatedEventAttributes().GetReason(), text.MaxText), ": "))
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		r.end(event, enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED, "cancelled")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		r.end(event, enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW, "continued as new in run "+event.GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId())
	default:
		return false
	}
	return true
}

func (r *reader) end(event *historypb.HistoryEvent, how enumspb.WorkflowExecutionStatus, ending string) {
	r.timeline.Status, r.timeline.Ending = status(how), ending
	r.timeline.EndedAt = asTime(event.GetEventTime())
}

// pending adds what the history does not have yet: the progress of what is under way.
func (r *reader) pending(history History) {
	byID := map[string]*step{}
	for _, s := range r.steps {
		if s.ended.IsZero() {
			byID[s.id] = s
		}
	}
	for _, info := range history.PendingActivities {
		if s := byID[info.GetActivityId()]; s != nil {
			s.pending = info
		}
	}
	for _, info := range history.PendingNexusOperations {
		p := r.begun[info.GetScheduledEventId()]
		if p == nil || p.Kind != KindNexus || p.over() {
			continue
		}
		switch info.GetState() {
		case enumspb.PENDING_NEXUS_OPERATION_STATE_BACKING_OFF:
			p.State = StateWaiting
			p.say(fmt.Sprintf("attempt %d follows, after %s", info.GetAttempt()+1, message(info.GetLastAttemptFailure())))
		case enumspb.PENDING_NEXUS_OPERATION_STATE_BLOCKED:
			p.State = StateWaiting
			p.say("blocked: " + text.Clip(info.GetBlockedReason(), text.MaxText))
		}
	}
}

// WorkflowEnded is the outcome of a row that was in progress when the workflow ended.
const WorkflowEnded = "the workflow ended"

// finish puts the rows together. A wait that lasts says why, if that is known.
func (r *reader) finish(why string) Timeline {
	t := r.timeline
	if since := asTime(r.task.GetEventTime()); r.task != nil && t.EndedAt.IsZero() && t.ReadAt.Sub(since) > patience {
		r.row(Row{Kind: KindWait, Name: waitName, Start: since, State: StateWaiting, Outcome: waitingOutcome, Events: events(r.task)})
	}
	var parts [][]Row
	for _, p := range r.parts {
		rows := []Row{p.Row}
		if p.step != nil {
			rows = p.step.rows(t.ReadAt)
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
		if !t.EndedAt.IsZero() && row.End.IsZero() { // what the workflow no longer waited for
			row.End, row.State, row.Outcome = t.EndedAt, StateCancelled, WorkflowEnded
		}
	}
	return t
}

func events(all ...*historypb.HistoryEvent) (list []Event) {
	for _, event := range all {
		list = append(list, Event{ID: event.GetEventId(), Type: event.GetEventType().String(), Time: asTime(event.GetEventTime())})
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
	return text.Clip(failure.GetMessage(), text.MaxText)
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
