package timeline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/reflect/protoreflect"

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

// part is one row, or a step with the rows that belong to it.
type part struct {
	Row
	step *step  // nil for a row
	with string // what the outcome begins with
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

// beganWith returns the id of the event that began what an event is about: the activity,
// child workflow, timer, update or Nexus operation; 0 if there is none.
func beganWith(event *historypb.HistoryEvent) int64 {
	names := []protoreflect.Name{"scheduled_event_id", "initiated_event_id", "accepted_event_id"}
	if timer := event.GetEventType(); timer == enumspb.EVENT_TYPE_TIMER_FIRED || timer == enumspb.EVENT_TYPE_TIMER_CANCELED {
		names = []protoreflect.Name{"started_event_id"}
	}
	for _, name := range names {
		if id, ok := attribute(event, name).(int64); ok && id != 0 {
			return id
		}
	}
	return 0
}

// attribute returns an attribute of an event, or nil if events of its type have none of that
// name. That of an enumeration is its name.
func attribute(event *historypb.HistoryEvent, name protoreflect.Name) any {
	m := event.ProtoReflect()
	which := m.WhichOneof(m.Descriptor().Oneofs().ByName("attributes"))
	if which == nil {
		return nil
	}
	attributes := m.Get(which).Message()
	field := attributes.Descriptor().Fields().ByName(name)
	if field == nil {
		return nil
	}
	value := attributes.Get(field)
	switch {
	case field.IsList() || field.IsMap():
		return nil
	case field.Kind() == protoreflect.MessageKind:
		return value.Message().Interface()
	case field.Kind() == protoreflect.EnumKind:
		if known := field.Enum().Values().ByNumber(value.Enum()); known != nil {
			return string(known.Name())
		}
	}
	return value.Interface()
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

// begin reads the events that begin what takes a while. It reports whether this is one.
func (r *reader) begin(event *historypb.HistoryEvent) bool {
	var kind Kind
	var name, with string
	state := StateRunning
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_TIMER_STARTED:
		attributes := event.GetTimerStartedEventAttributes()
		kind, name, with, state = KindTimer, "timer", "of "+Duration(attributes.GetStartToFireTimeout().AsDuration()), StateWaiting
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
		attributes := event.GetStartChildWorkflowExecutionInitiatedEventAttributes()
		kind, name, with = KindChild, attributes.GetWorkflowType().GetName(), "child "+attributes.GetWorkflowId()
	case enumspb.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED:
		attributes := event.GetNexusOperationScheduledEventAttributes()
		kind, name, with = KindNexus, attributes.GetOperation(), "Nexus "+attributes.GetEndpoint()+"/"+attributes.GetService()
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
		kind, name, with = KindUpdate, event.GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequest().GetInput().GetName(), "update"
	case enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
		attributes := event.GetSignalExternalWorkflowExecutionInitiatedEventAttributes()
		kind, name, with = KindMoment, "send signal", attributes.GetSignalName()+" to "+attributes.GetWorkflowExecution().GetWorkflowId()
	case enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
		kind, name, with = KindMoment, "send cancel", "to "+event.GetRequestCancelExternalWorkflowExecutionInitiatedEventAttributes().GetWorkflowExecution().GetWorkflowId()
	default:
		return false
	}
	p := &part{with: text.Clip(with, text.MaxName+20), Row: Row{Kind: kind, Name: text.Clip(cmp.Or(name, string(kind)), text.MaxName), Start: asTime(event.GetEventTime()), State: state, Events: events(event)}}
	p.Outcome = p.with
	if kind == KindMoment {
		p.End = p.Start
	}
	r.begun[event.GetEventId()] = p
	r.parts = append(r.parts, p)
	return true
}

// endings are how what takes a while ends, by the last words of the event's type.
var endings = []struct {
	suffix  string
	state   State
	outcome string
}{
	{"CancelRequestFailed", "", ""}, {"CancelRequestCompleted", "", ""}, // of a Nexus operation, which goes on
	{"ExecutionSignaled", StateOK, "delivered"}, {"ExecutionCancelRequested", StateOK, "delivered"},
	{"Completed", StateOK, "done"}, {"Fired", StateOK, "fired"}, {"TimedOut", StateFailed, "timed out"},
	{"Canceled", StateCancelled, "cancelled"}, {"Terminated", StateFailed, "terminated"}, {"Failed", StateFailed, "failed"},
}

// read reads an event that is about the part.
func (p *part) read(event *historypb.HistoryEvent) {
	p.Events = append(p.Events, events(event)...)
	for _, e := range endings {
		if !strings.HasSuffix(event.GetEventType().String(), e.suffix) {
			continue
		}
		if e.state == "" || p.over() {
			return
		}
		p.State, p.End = e.state, asTime(event.GetEventTime())
		if p.Kind == KindMoment {
			p.End = p.Start
		}
		p.say(e.outcome)
		if cause, ok := attribute(event, "cause").(string); ok { // why it was not even begun
			_, cause, _ = strings.Cut(cause, "_CAUSE_")
			p.say(strings.ToLower(strings.ReplaceAll(cause, "_", " ")))
		}
		failure, _ := attribute(event, "failure").(*failurepb.Failure)
		if failure == nil {
			failure = event.GetWorkflowExecutionUpdateCompletedEventAttributes().GetOutcome().GetFailure()
		}
		if failure != nil && (failure.GetMessage() != "" || failure.GetCause() != nil) {
			if e.state == StateOK {
				p.State = StateFailed
			}
			p.say(message(failure))
		}
		return
	}
}

// over reports whether it is known how the part ended.
func (p *part) over() bool { return p.State != StateRunning && p.State != StateWaiting }

// say says how the part is.
func (p *part) say(outcome string) { p.Outcome = strings.TrimPrefix(p.with+": "+outcome, ": ") }

// marks are what the markers of the SDKs are called.
var marks = map[string]string{"SideEffect": "side effect", "MutableSideEffect": "side effect", "Version": "version", "LocalActivity": "local activity",
	"core_local_activity": "local activity", "core_patch": "version"}

// other adds a moment for an event that is neither a beginning nor an end: a mark of the
// workflow's own, or one that this package does not know.
func (r *reader) other(event *historypb.HistoryEvent) {
	typ := event.GetEventType().String()
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_MARKER_RECORDED:
		name := event.GetMarkerRecordedEventAttributes().GetMarkerName()
		r.at(KindMark, event, cmp.Or(marks[name], "marker"), StateOK, markInWords(event))
	case enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
		r.at(KindMark, event, "search attribute", StateOK, keys(event.GetUpsertWorkflowSearchAttributesEventAttributes().GetSearchAttributes().GetIndexedFields()))
	case enumspb.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED:
		r.at(KindMark, event, "memo", StateOK, keys(event.GetWorkflowPropertiesModifiedEventAttributes().GetUpsertedMemo().GetFields()))
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED:
		r.moment(event, "paused", StateWaiting, event.GetWorkflowExecutionPausedEventAttributes().GetReason())
	default:
		r.moment(event, strings.TrimPrefix(words(typ), "workflow execution "), StateOK, "")
	}
}

// keys are those of search attributes or a memo.
func keys(fields map[string]*commonpb.Payload) string {
	return strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
}

// markInWords says what a marker marks: the change of a version, or a local activity.
func markInWords(event *historypb.HistoryEvent) string {
	attributes := event.GetMarkerRecordedEventAttributes()
	var change, version string
	var data map[string]any
	decode(attributes.GetDetails()["change-id"], &change)
	var number int
	if decode(attributes.GetDetails()["version"], &number) {
		version = fmt.Sprintf(" is %d", number)
	}
	if change != "" {
		return change + version
	}
	if decode(attributes.GetDetails()["data"], &data) {
		if name, ok := cmp.Or(data["ActivityType"], data["activity_type"]).(string); ok {
			if failure := attributes.GetFailure(); failure != nil {
				name += ": " + message(failure)
			}
			return name
		}
	}
	return ""
}

// decode decodes the first of some payloads, as the SDK's default data converter does. It
// reports whether there is one that value can hold.
func decode(payloads *commonpb.Payloads, value any) bool {
	return len(payloads.GetPayloads()) > 0 && converter.GetDefaultDataConverter().FromPayload(payloads.GetPayloads()[0], value) == nil
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

// words splits a name as Go spells it: WorkflowExecutionPaused is workflow execution paused.
func words(name string) string {
	var b strings.Builder
	for i, letter := range name {
		if i > 0 && unicode.IsUpper(letter) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(letter))
	}
	return b.String()
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
