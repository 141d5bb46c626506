package desk

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/text"
	"example.com/coffee/timeline"
)

// History is everything that the server has recorded about an order.
type History struct {
	OrderID string
	RunID   string // of the workflow
	Events  []*historypb.HistoryEvent
	// Pending are the activities in progress. The history has the last attempt of
	// an activity only when the activity is over.
	Pending []*workflowpb.PendingActivityInfo
	// Waiting is why the order does not go on, as in [OrderView.Waiting].
	Waiting string
	ReadAt  time.Time
}

// History returns the history of an order. It needs no worker. It returns an
// [*coffee.InvalidOrderError] if no order can have this id, [coffee.ErrNotFound], or an
// [*coffee.UnreadableError].
func (c *Client) History(ctx context.Context, orderID string) (History, error) {
	if err := coffee.ValidateForeignID(orderID); err != nil {
		return History{}, err
	}
	described, err := c.Lookup(ctx, orderID, "")
	if err != nil {
		return History{}, Unreadable(orderID, err)
	}
	history, err := c.Run(ctx, described.GetWorkflowExecutionInfo().GetExecution())
	if err == nil {
		waits, _ := c.waiting(ctx, described) // nothing, if the server cannot say
		history.Pending, history.Waiting = described.GetPendingActivities(), waits.String()
	}
	return history, err
}

// Run returns the history of a run. With an [*coffee.UnreadableError] it has all events if
// they are only encrypted, and none otherwise. If there is no such run, Run returns
// [coffee.ErrNotFound].
func (c *Client) Run(ctx context.Context, execution *commonpb.WorkflowExecution) (History, error) {
	history := History{OrderID: coffee.OrderID(execution.GetWorkflowId()), RunID: execution.GetRunId(), ReadAt: time.Now()}
	for event, err := range c.Events(ctx, execution) {
		if err != nil {
			history.Events = nil
			return history, err
		}
		history.Events = append(history.Events, event)
	}
	return history, CheckReadable(history.OrderID, history.Events)
}

// OfOrder returns the history of a workflow as that of an order. It returns an error if it is
// not that of an order.
func OfOrder(h timeline.History) (History, error) {
	if h.Type() != coffee.WorkflowType {
		return History{}, fmt.Errorf("it is the history of a workflow %s, not of an order, which is %s", text.Quote(h.Type()), coffee.WorkflowType)
	}
	history := History{OrderID: coffee.OrderID(h.WorkflowID), RunID: h.RunID, Events: h.Events, Pending: h.PendingActivities, ReadAt: h.ReadAt}
	started := h.Events[0].GetWorkflowExecutionStartedEventAttributes()
	if request, ok := coffee.DecodeRequest(started.GetInput()); ok && history.OrderID == "" { // of a server that did not record it
		history.OrderID = request.OrderID
	}
	return history, nil
}

// ScheduledBy returns the id of the event that scheduled the activity that an event is
// about; 0 if it is about none.
func ScheduledBy(event *historypb.HistoryEvent) int64 {
	return cmp.Or(
		event.GetActivityTaskStartedEventAttributes().GetScheduledEventId(),
		event.GetActivityTaskCompletedEventAttributes().GetScheduledEventId(),
		event.GetActivityTaskFailedEventAttributes().GetScheduledEventId(),
		event.GetActivityTaskTimedOutEventAttributes().GetScheduledEventId(),
		event.GetActivityTaskCancelRequestedEventAttributes().GetScheduledEventId(),
		event.GetActivityTaskCanceledEventAttributes().GetScheduledEventId())
}

// Activities are the names of a history's activities, by the ids of the events that
// scheduled them.
type Activities map[int64]string

// Of returns the name of the activity that the next event of a history is about; empty if
// it is about none.
func (a Activities) Of(event *historypb.HistoryEvent) string {
	id := ScheduledBy(event)
	if scheduled := event.GetActivityTaskScheduledEventAttributes(); scheduled != nil {
		id = event.GetEventId()
		a[id] = scheduled.GetActivityType().GetName()
	}
	return a[id]
}

// Running reports whether the order was under way when its history was read.
func (h History) Running() bool {
	if len(h.Events) == 0 {
		return false
	}
	switch h.Events[len(h.Events)-1].GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		return false
	}
	return true
}

// Begun reports whether a worker has completed a task of the order.
func (h History) Begun() bool {
	return slices.ContainsFunc(h.Events, func(event *historypb.HistoryEvent) bool {
		return event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
	})
}

// WorkflowID returns the id of the workflow, as its first event says.
func (h History) WorkflowID() string {
	if len(h.Events) > 0 {
		if id := h.Events[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowId(); id != "" {
			return id
		}
	}
	return coffee.WorkflowID(h.OrderID)
}

// readHistory adds to a view what the order's history says.
func (c *Client) readHistory(ctx context.Context, view *OrderView, execution *commonpb.WorkflowExecution) error {
	activities := Activities{}
	for event, err := range c.Events(ctx, execution) {
		if err != nil {
			return err
		}
		view.read(event, activities.Of(event))
	}
	return nil
}

// read reads the next event, which may be about an activity. It skips those that it does
// not understand.
func (v *OrderView) read(event *historypb.HistoryEvent, activity string) {
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		if request, ok := coffee.DecodeRequest(event.GetWorkflowExecutionStartedEventAttributes().GetInput()); ok {
			v.Drink, v.Size = request.Drink, request.Size
		} else {
			v.Encrypted = coffee.EncryptionProblem(event.GetWorkflowExecutionStartedEventAttributes().GetInput().GetPayloads()...) != ""
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		attributes := event.GetWorkflowExecutionSignaledEventAttributes()
		if attributes.GetSignalName() == coffee.SignalCancelOrder {
			v.CancelRequested = true
			v.CancelReason = coffee.CancelReason(coffee.FirstPayload(attributes.GetInput()))
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		v.CancelRequested = true
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
		attributes := event.GetWorkflowTaskFailedEventAttributes()
		switch attributes.GetCause() {
		case enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW, enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND:
			// An operator's reset, or news that came when the task was done.
		default:
			v.WorkflowTaskFailure = text.Clip(attributes.GetFailure().GetMessage(), text.MaxText)
			v.Unindexed = attributes.GetCause() == enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES
		}
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
		v.WorkflowTaskFailure, v.Unindexed = "", false
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		v.Stage = cmp.Or(stageOf[activity], v.Stage)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
		if activity == coffee.ActivityBrewCoffee {
			v.BrewAttempts = int(event.GetActivityTaskStartedEventAttributes().GetAttempt())
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		v.completed(activity, event.GetActivityTaskCompletedEventAttributes().GetResult())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		v.Failure = text.Clip(event.GetActivityTaskFailedEventAttributes().GetFailure().GetMessage(), text.MaxText)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		v.Failure = "timed out"
	default:
		v.closed(event)
	}
}

func (v *OrderView) completed(activity string, result *commonpb.Payloads) {
	switch activity {
	case coffee.ActivityChargeCustomer:
		v.Charged = true
	case coffee.ActivityBrewCoffee:
		v.Brewed = true
	case coffee.ActivitySendReceipt:
		v.ReceiptSent = true
	case coffee.ActivityRefundCustomer:
		var out coffee.RefundOutput
		if !coffee.Decode(coffee.FirstPayload(result), &out) {
			return
		}
		switch { // as in [order.undo]
		case out.Refunded:
			v.Charged, v.Refunded = true, true
		case out.Delivered: // by an earlier run
			v.Charged, v.Brewed = true, true
		case v.Charged:
			v.Failure = coffee.FailureOtherLedger
		}
	}
}

// closed reads the events that end a workflow.
func (v *OrderView) closed(event *historypb.HistoryEvent) {
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		result, ok := coffee.DecodeResult(event.GetWorkflowExecutionCompletedEventAttributes().GetResult())
		if !ok {
			return
		}
		v.Status = result.Status
		v.Cancelled = result.Status == coffee.StatusCancelled
		v.Charged, v.Brewed, v.ReceiptSent = result.Charged, result.Brewed, result.ReceiptSent
		v.Refunded, v.AmountCents = result.Refunded, result.AmountCents
		v.Failure = cmp.Or(result.Failure, v.Failure)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		v.Failure = text.Clip(event.GetWorkflowExecutionFailedEventAttributes().GetFailure().GetMessage(), text.MaxText)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		v.Failure = "the workflow timed out"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		v.Failure = strings.TrimSpace("terminated " + text.Clip(event.GetWorkflowExecutionTerminatedEventAttributes().GetReason(), text.MaxText))
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		v.Cancelled = true
		var problem string
		if coffee.Decode(coffee.FirstPayload(event.GetWorkflowExecutionCanceledEventAttributes().GetDetails()), &problem) {
			v.Failure = text.Clip(problem, text.MaxText)
		}
	default:
		return
	}
	v.Stage, v.WorkflowTaskFailure, v.Unindexed = coffee.StageDone, "", false
}
