package coffee

import (
	"context"
	"iter"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
)

// History is everything that the server has recorded about an order.
type History struct {
	OrderID string
	Events  []*historypb.HistoryEvent
	// Pending are the activities in progress. The history has the last attempt of
	// an activity only when the activity is over.
	Pending []*workflowpb.PendingActivityInfo
	ReadAt  time.Time
}

// History returns the history of an order. It needs no worker. It returns an
// [*InvalidOrderError] if no order can have this id, or [ErrNotFound].
func (c *Client) History(ctx context.Context, orderID string) (History, error) {
	if err := checkAddress(orderID); err != nil {
		return History{}, err
	}
	described, err := c.temporal.DescribeWorkflowExecution(ctx, WorkflowID(orderID), "")
	if err != nil {
		return History{}, notFound(orderID, err)
	}
	history := History{OrderID: orderID, Pending: described.GetPendingActivities(), ReadAt: time.Now()}
	for event, err := range c.events(ctx, described.GetWorkflowExecutionInfo().GetExecution()) {
		if err != nil {
			return History{}, err
		}
		history.Events = append(history.Events, event)
	}
	return history, nil
}

// events iterates over the events of a run, oldest first. It ends after an error,
// which is [ErrNotFound] if there is no such run.
func (c *Client) events(ctx context.Context, execution *commonpb.WorkflowExecution) iter.Seq2[*historypb.HistoryEvent, error] {
	return func(yield func(*historypb.HistoryEvent, error) bool) {
		events := c.temporal.GetWorkflowHistory(ctx, execution.GetWorkflowId(), execution.GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			if !yield(event, notFound(orderID(execution.GetWorkflowId()), err)) || err != nil {
				return
			}
		}
	}
}

// readHistory adds to a view what the order's history says.
func (c *Client) readHistory(ctx context.Context, view *OrderView, execution *commonpb.WorkflowExecution) error {
	reader := historyReader{view: view, scheduled: map[int64]string{}}
	for event, err := range c.events(ctx, execution) {
		if err != nil {
			return err
		}
		reader.read(event)
	}
	return nil
}

// historyReader follows an order through its events. It reads those that it
// understands and skips the rest.
type historyReader struct {
	view      *OrderView
	scheduled map[int64]string // activity names by the id of the scheduling event
}

func (r *historyReader) read(event *historypb.HistoryEvent) {
	view := r.view
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		if request, ok := DecodeRequest(event.GetWorkflowExecutionStartedEventAttributes().GetInput()); ok {
			view.Drink, view.Size = request.Drink, request.Size
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		attributes := event.GetWorkflowExecutionSignaledEventAttributes()
		if attributes.GetSignalName() == SignalCancelOrder {
			view.CancelRequested = true
			view.CancelReason = cancelReason(firstPayload(attributes.GetInput()))
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		view.CancelRequested = true
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		name := event.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName()
		r.scheduled[event.GetEventId()] = name
		if stage, ok := stageOf[name]; ok {
			view.Stage = stage
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
		attributes := event.GetActivityTaskStartedEventAttributes()
		if r.scheduled[attributes.GetScheduledEventId()] == ActivityBrewCoffee {
			view.BrewAttempts = int(attributes.GetAttempt())
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		attributes := event.GetActivityTaskCompletedEventAttributes()
		r.completed(r.scheduled[attributes.GetScheduledEventId()], attributes.GetResult())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		attributes := event.GetActivityTaskFailedEventAttributes()
		view.Failure = clip(attributes.GetFailure().GetMessage(), maxText)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		view.Failure = "timed out"
	default:
		r.closed(event)
	}
}

func (r *historyReader) completed(activity string, result *commonpb.Payloads) {
	switch activity {
	case ActivityChargeCustomer:
		r.view.Charged = true
	case ActivityBrewCoffee:
		r.view.Brewed = true
	case ActivitySendReceipt:
		r.view.ReceiptSent = true
	case ActivityRefundCustomer:
		var out RefundOutput
		if payload := firstPayload(result).Payload(); payload == nil || decode(payload, &out) != nil {
			return
		}
		if out.Refunded {
			r.view.Charged, r.view.Refunded = true, true
		}
		if out.Delivered { // by an earlier run
			r.view.Charged, r.view.Brewed = true, true
		}
	}
}

// closed reads the events that end a workflow.
func (r *historyReader) closed(event *historypb.HistoryEvent) {
	view := r.view
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		result, ok := DecodeResult(event.GetWorkflowExecutionCompletedEventAttributes().GetResult())
		if !ok {
			return
		}
		view.Status = result.Status
		view.Cancelled = result.Status == StatusCancelled
		view.Charged, view.Brewed, view.ReceiptSent = result.Charged, result.Brewed, result.ReceiptSent
		view.Refunded, view.AmountCents = result.Refunded, result.AmountCents
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		view.Failure = clip(event.GetWorkflowExecutionFailedEventAttributes().GetFailure().GetMessage(), maxText)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		view.Failure = "the workflow timed out"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		view.Failure = strings.TrimSpace("terminated " + clip(event.GetWorkflowExecutionTerminatedEventAttributes().GetReason(), maxText))
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		view.Cancelled = true
		var problem string
		payload := firstPayload(event.GetWorkflowExecutionCanceledEventAttributes().GetDetails()).Payload()
		if payload != nil && decode(payload, &problem) == nil {
			view.Failure = clip(problem, maxText)
		}
	default:
		return
	}
	view.Stage = StageDone
}

// orderID returns the order id in a workflow id.
func orderID(workflowID string) string { return strings.TrimPrefix(workflowID, workflowIDPrefix) }
