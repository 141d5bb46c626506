package coffee

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

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
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
// [*InvalidOrderError] if no order can have this id, [ErrNotFound], or an
// [*UnreadableError].
func (c *Client) History(ctx context.Context, orderID string) (History, error) {
	if err := ValidateForeignID(orderID); err != nil {
		return History{}, err
	}
	described, err := c.temporal.DescribeWorkflowExecution(ctx, WorkflowID(orderID), "")
	if err != nil {
		return History{}, Unreadable(orderID, notFound(orderID, err))
	}
	history, err := c.readRun(ctx, described.GetWorkflowExecutionInfo().GetExecution(), described.GetPendingActivities())
	if err == nil {
		history.Waiting = c.waitingFor(ctx, described)
	}
	return history, err
}

// readRun returns the history of a run. With an [*UnreadableError] it has all events if
// they are only encrypted, and none otherwise.
func (c *Client) readRun(ctx context.Context, execution *commonpb.WorkflowExecution, pending []*workflowpb.PendingActivityInfo) (History, error) {
	history := History{OrderID: orderID(execution.GetWorkflowId()), RunID: execution.GetRunId(), Pending: pending, ReadAt: time.Now()}
	for event, err := range c.Events(ctx, execution) {
		var one *UnreadableError
		if errors.As(err, &one) {
			history.Events = nil
			return history, err
		}
		if err != nil {
			return History{}, err
		}
		history.Events = append(history.Events, event)
	}
	return history, CheckReadable(history.OrderID, history.Events)
}

// HistoryFromJSON reads the history of an order as "temporal workflow show --output
// json" writes it and as Temporal's Web UI lets one download it: the events may be alone,
// and the newest may be the first. The history is taken
// to have been read when its last event happened. HistoryFromJSON returns an error if
// it is not a history, or not that of an order, or if its payloads are decoded.
func HistoryFromJSON(r io.Reader) (History, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return History{}, err
	}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		text = slices.Concat([]byte(`{"events":`), text, []byte("}"))
	}
	decoded, err := client.HistoryFromJSON(bytes.NewReader(text), client.HistoryJSONOptions{})
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
	if name := started.GetWorkflowType().GetName(); name != WorkflowType {
		return History{}, fmt.Errorf("it is the history of a workflow %s, not of an order, which is %s", Quote(name), WorkflowType)
	}
	history := History{
		OrderID: orderID(started.GetWorkflowId()),
		RunID:   started.GetOriginalExecutionRunId(),
		Events:  events,
		ReadAt:  events[len(events)-1].GetEventTime().AsTime(),
	}
	if request, ok := DecodeRequest(started.GetInput()); ok && history.OrderID == "" { // of a server that did not record it
		history.OrderID = request.OrderID
	}
	return history, nil
}

// sourceFile matches what names a source file of the program in an error of the decoder.
var sourceFile = regexp.MustCompile(`\S+\.go:\d+:?\s*`)

// Running reports whether the order was under way when its history was read.
func (h History) Running() bool {
	return len(h.Events) > 0 && !isOver(h.Events[len(h.Events)-1])
}

// Begun reports whether a worker has completed a task of the order.
func (h History) Begun() bool { return slices.ContainsFunc(h.Events, isTaskCompleted) }

// workflowID returns the id of the workflow, as its first event says.
func (h History) workflowID() string {
	if len(h.Events) > 0 {
		if id := h.Events[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowId(); id != "" {
			return id
		}
	}
	return WorkflowID(h.OrderID)
}

// accepted returns what an order was accepted as by the first of its runs that was,
// from its original run to the one before upTo; the zero value if none was, or if it
// was deleted. It reads what the worker has decided, which no client can write, as it
// can a memo.
func (c *Client) accepted(ctx context.Context, orderID, original, upTo string) (acceptance, error) {
	for runID := original; runID != upTo && runID != ""; {
		accepted, err := c.decision(ctx, &commonpb.WorkflowExecution{WorkflowId: WorkflowID(orderID), RunId: runID})
		if err != nil || accepted.AmountCents != 0 {
			return accepted, ignore(err, ErrNotFound)
		}
		described, err := c.temporal.DescribeWorkflowExecution(ctx, WorkflowID(orderID), runID)
		if err != nil {
			return acceptance{}, ignore(notFound(orderID, err), ErrNotFound)
		}
		runID = described.GetWorkflowExtendedInfo().GetResetRunId()
	}
	return acceptance{}, nil
}

// decision returns what a run decided when it started; the zero value if it has not.
func (c *Client) decision(ctx context.Context, execution *commonpb.WorkflowExecution) (acceptance, error) {
	for event, err := range c.Events(ctx, execution) {
		if err != nil {
			return acceptance{}, err
		}
		marker := event.GetMarkerRecordedEventAttributes()
		if marker.GetMarkerName() != "SideEffect" {
			continue
		}
		var decided acceptance
		payload := firstPayload(marker.GetDetails()["data"]).Payload()
		err := decode(payload, &decided)
		switch {
		case err == nil:
			return decided, nil
		case string(payload.GetMetadata()[converter.MetadataEncoding]) == encodingEncrypted:
			return acceptance{}, fmt.Errorf("cannot read what the order was accepted as: %w", err)
		}
		return acceptance{}, nil // it is not from this workflow
	}
	return acceptance{}, nil
}

// ignore returns nil if the error is the expected one.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// readHistory adds to a view what the order's history says.
func (c *Client) readHistory(ctx context.Context, view *OrderView, execution *commonpb.WorkflowExecution) error {
	reader := historyReader{view: view, scheduled: map[int64]string{}}
	for event, err := range c.Events(ctx, execution) {
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
		} else {
			view.Encrypted = unreadable(firstPayload(event.GetWorkflowExecutionStartedEventAttributes().GetInput()).Payload()) != ""
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		attributes := event.GetWorkflowExecutionSignaledEventAttributes()
		if attributes.GetSignalName() == SignalCancelOrder {
			view.CancelRequested = true
			view.CancelReason = cancelReason(firstPayload(attributes.GetInput()))
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		view.CancelRequested = true
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
		attributes := event.GetWorkflowTaskFailedEventAttributes()
		switch attributes.GetCause() {
		case enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW, enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND:
			// An operator's reset, or news that came when the task was done.
		default:
			view.WorkflowTaskFailure = clip(attributes.GetFailure().GetMessage(), maxText)
			view.Unindexed = attributes.GetCause() == enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES
		}
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
		view.WorkflowTaskFailure, view.Unindexed = "", false
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
		switch { // as in [order.undo]
		case out.Refunded:
			r.view.Charged, r.view.Refunded = true, true
		case out.Delivered: // by an earlier run
			r.view.Charged, r.view.Brewed = true, true
		case r.view.Charged:
			r.view.Failure = failureOtherLedger
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
	view.Stage, view.WorkflowTaskFailure, view.Unindexed = StageDone, "", false
}

// orderID returns the order id in a workflow id.
func orderID(workflowID string) string { return strings.TrimPrefix(workflowID, workflowIDPrefix) }
