// Package replay runs the workflow of today against the histories of yesterday, and says where
// the two part.
package replay

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/text"
)

// Error reports a nondeterminism error: the workflow issues other commands than the
// history records. A worker with this code cannot continue the order.
type Error struct {
	// EventID is the id of the event at which they part; 0 if that is unknown.
	EventID int64
	// Event says what happened there, such as "ActivityTaskScheduled brew_coffee";
	// empty if that is unknown.
	Event string
	// Problem is what the code does instead.
	Problem string
	cause   error
}

func (e *Error) Error() string {
	if e.EventID == 0 {
		return e.Problem
	}
	return fmt.Sprintf("event %d, %s: %s", e.EventID, e.Event, e.Problem)
}

// Unwrap returns the SDK's error.
func (e *Error) Unwrap() error { return e.cause }

// Check runs a workflow function against the history of an order, as a worker does that
// picks up the order, and returns a [*Error] if it would not do the same again. It
// needs no server, and calls no service.
func Check(function any, history desk.History) error {
	replay := func(events []*historypb.HistoryEvent) error {
		replayer := worker.NewWorkflowReplayer()
		replayer.RegisterWorkflowWithOptions(function, workflow.RegisterOptions{Name: coffee.WorkflowType})
		// The replayer writes to what it is given.
		copied := proto.CloneOf(&historypb.History{Events: events})
		return replayer.ReplayWorkflowHistoryWithOptions(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), copied, worker.ReplayWorkflowHistoryOptions{
			OriginalExecution: workflow.Execution{ID: history.WorkflowID(), RunID: history.RunID},
		})
	}
	if !history.Begun() {
		return nil // nothing has been done that could be done again
	}
	events := history.Events
	if !endedByItself(history) {
		events = withNextTask(events)
	}
	err := replay(events)
	if err == nil {
		return nil
	}
	e := explain(history.Events, err)
	if e.Problem != elsewhere {
		return e
	}
	// What the code does instead can show when the history ends just before.
	before := slices.IndexFunc(history.Events, func(event *historypb.HistoryEvent) bool { return event.GetEventId() >= e.EventID })
	for before > 0 && !taskCompleted(history.Events[before-1]) {
		before--
	}
	if before > 0 {
		if command := commandIn(replay(withNextTask(history.Events[:before]))); command != "" {
			e.Problem = elsewhere + ": " + command
		}
	}
	return e
}

func taskCompleted(event *historypb.HistoryEvent) bool {
	return event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
}

// withNextTask cuts a history after the events of the last commands, and appends two empty
// workflow tasks: the SDK's replayer checks the commands of a task only when it sees the
// next one completed.
func withNextTask(events []*historypb.HistoryEvent) []*historypb.HistoryEvent {
	completed, end := int64(0), 0
	for i, event := range events {
		switch {
		case taskCompleted(event):
			completed, end = event.GetEventId(), i+1
		case completed != 0 && i == end && isCommandOf(event, completed):
			end++
		}
	}
	events = slices.Clip(events[:end])
	for range 2 {
		for _, event := range []*historypb.HistoryEvent{
			{EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED},
			{EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED, Attributes: &historypb.HistoryEvent_WorkflowTaskStartedEventAttributes{
				WorkflowTaskStartedEventAttributes: &historypb.WorkflowTaskStartedEventAttributes{}}},
			{EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED, Attributes: &historypb.HistoryEvent_WorkflowTaskCompletedEventAttributes{
				WorkflowTaskCompletedEventAttributes: &historypb.WorkflowTaskCompletedEventAttributes{}}},
		} {
			last := events[len(events)-1]
			event.EventId, event.EventTime = last.GetEventId()+1, last.GetEventTime()
			events = append(events, event)
		}
	}
	return events
}

// isCommandOf reports whether an event comes from a command of a workflow task.
func isCommandOf(event *historypb.HistoryEvent, task int64) bool {
	// Each kind of event has its own attributes, and those that come from a command
	// have this field.
	attributes := event.ProtoReflect().WhichOneof(event.ProtoReflect().Descriptor().Oneofs().ByName("attributes"))
	if attributes == nil {
		return false
	}
	field := attributes.Message().Fields().ByName("workflow_task_completed_event_id")
	return field != nil && event.ProtoReflect().Get(attributes).Message().Get(field).Int() == task
}

// endedByItself reports whether a history ends with a command of the workflow. Otherwise it
// may end in a workflow task that nobody has answered, or that was lost: the SDK's replayer
// would take that for completed.
func endedByItself(history desk.History) bool {
	last := history.Events[len(history.Events)-1].GetEventType()
	return !history.Running() && last != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED && last != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT
}

// The SDK says only in words where a history and a workflow part, and in different
// ones for each case (grep TMPRL1100 in go.temporal.io/sdk/internal). The id of an
// activity is that of the event that scheduled it.
var (
	eventInWords    = regexp.MustCompile(`(?:event position |scheduleEventID: |ActivityId:|TimerId:)(\d+)`)
	commandInWords  = regexp.MustCompile(`(?:extra replay command for|replay command is) (\w+)(?:: \((.*))?`)
	activityInWords = regexp.MustCompile(`ActivityType:\(Name:([^)]*)\)`)
)

// elsewhere is the problem if an event is known.
const elsewhere = "this code does something else there"

// explain returns an [*Error] for an error of the replayer.
func explain(events []*historypb.HistoryEvent, err error) *Error {
	words := err.Error()
	e := &Error{Problem: text.Clip(strings.TrimPrefix(words, "[TMPRL1100] "), text.MaxText), cause: err}
	if !strings.Contains(words, "TMPRL1100") {
		return e
	}
	if match := eventInWords.FindStringSubmatch(words); match != nil {
		id, _ := strconv.ParseInt(match[1], 10, 64) // it consists of digits
		if i := slices.IndexFunc(events, func(event *historypb.HistoryEvent) bool { return event.GetEventId() == id }); i >= 0 {
			e.EventID, e.Event, e.Problem = id, eventName(events[i]), elsewhere
		}
	}
	switch command := commandIn(err); {
	case command == "":
	case e.EventID != 0:
		e.Problem = elsewhere + ": " + command
	default:
		e.Problem = "this code does something that the history does not have: " + command
	}
	return e
}

// commandIn returns what the code does instead; empty if an error of the replayer does not
// say so.
func commandIn(err error) string {
	if err == nil {
		return ""
	}
	match := commandInWords.FindStringSubmatch(err.Error())
	if match == nil {
		return ""
	}
	command := match[1]
	if activity := activityInWords.FindStringSubmatch(match[2]); activity != nil {
		command += " " + activity[1]
	}
	return command
}

// eventName returns the type of an event, and the activity that it schedules.
func eventName(event *historypb.HistoryEvent) string {
	name := event.GetEventType().String()
	if activity := event.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName(); activity != "" {
		name += " " + text.Printable(activity)
	}
	return name
}
