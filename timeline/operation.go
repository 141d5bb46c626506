package timeline

import (
	"cmp"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/reflect/protoreflect"

	"example.com/coffee/internal/text"
)

// part is one row, or a step with the rows that belong to it.
type part struct {
	Row
	step *step  // nil for a row
	with string // what the outcome begins with
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
