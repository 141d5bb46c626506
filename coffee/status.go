package coffee

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// OrderView is what can be said about an order from outside.
type OrderView struct {
	OrderState
	Status OrderStatus `json:"status"`
	// CancelRequested is true once a cancel has been recorded, whether or not
	// it came in time.
	CancelRequested bool `json:"cancel_requested"`
	// BrewAttempts is how often the machine was started.
	BrewAttempts int `json:"brew_attempts"`
	// LastFailure is why the last attempt of the current step failed.
	LastFailure string `json:"last_failure,omitempty"`
	// NextAttemptAt is when that step is tried again; zero if it is not waiting.
	NextAttemptAt time.Time `json:"next_attempt_at,omitzero"`
	StartedAt     time.Time `json:"started_at"`
	// EndedAt is zero while the order is running.
	EndedAt time.Time `json:"ended_at,omitzero"`
	// WorkerAnswered is false when no worker was there to ask, so that all of
	// this is what the server alone knows. It is true of an order that is over.
	WorkerAnswered bool   `json:"worker_answered"`
	RunID          string `json:"run_id"`
}

// Age is how long the order took, or has taken so far.
func (v OrderView) Age() time.Duration {
	if v.EndedAt.IsZero() {
		return time.Since(v.StartedAt)
	}
	return v.EndedAt.Sub(v.StartedAt)
}

// queryPatience is how long to wait for a worker to answer a question about an
// order before the server's own knowledge has to do.
const queryPatience = time.Second

// Look returns all that can be learned about one order, from its history and,
// if it is running, from a worker. It returns [ErrNotFound].
func (c *Client) Look(ctx context.Context, orderID string) (OrderView, error) {
	if err := checkAddress(orderID); err != nil {
		return OrderView{}, err
	}
	described, err := c.temporal.DescribeWorkflowExecution(ctx, WorkflowID(orderID), "")
	if err != nil {
		return OrderView{}, notFound(err)
	}
	info := described.GetWorkflowExecutionInfo()
	view := viewOf(info)
	view.OrderID = orderID // also of a workflow that only looks like an order
	if err := c.readHistory(ctx, &view, info.GetExecution()); err != nil {
		return OrderView{}, err
	}
	view.addPending(described)
	if view.Status != StatusRunning {
		view.WorkerAnswered = true
		return view, nil
	}
	queryCtx, cancel := context.WithTimeout(ctx, queryPatience)
	defer cancel()
	if state, err := c.State(queryCtx, orderID); err == nil {
		view.OrderState, view.WorkerAnswered = state, true
	} else if ctx.Err() != nil {
		return OrderView{}, ctx.Err()
	}
	return view, nil
}

// ListOptions say which orders [Client.List] returns.
type ListOptions struct {
	// Limit is how many at most; 0 means [DefaultListLimit].
	Limit int
	// Status, unless empty, selects the orders of this status.
	Status OrderStatus
	// Brief leaves out what takes a look at each order; see [Client.Complete].
	Brief bool
}

// DefaultListLimit is how many orders a list has unless it is told otherwise.
const DefaultListLimit = 20

// ErrNotIndexed: the server cannot find orders by how they ended.
var ErrNotIndexed = errors.New("the server has no search attribute " + SearchAttributeStatus)

// List returns orders, newest first. The server selects them: the running ones
// and then those that ended last. It returns [ErrNotIndexed] if it is asked
// for a status other than RUNNING and the server has no search attribute.
func (c *Client) List(ctx context.Context, options ListOptions) ([]OrderView, error) {
	limit := options.Limit
	if limit <= 0 {
		limit = DefaultListLimit
	}
	var views []OrderView
	var token []byte
	for len(views) < limit {
		page, err := c.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace:     c.namespace,
			Query:         statusQuery(options.Status),
			PageSize:      int32(min(limit-len(views), 1000)),
			NextPageToken: token,
		})
		var invalid *serviceerror.InvalidArgument
		if errors.As(err, &invalid) && options.Status != "" && options.Status != StatusRunning {
			return nil, fmt.Errorf("%w: %w", ErrNotIndexed, err)
		}
		if err != nil {
			return nil, err
		}
		for _, info := range page.GetExecutions() {
			views = append(views, viewOf(info))
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			break
		}
	}
	if !options.Brief {
		if err := c.Complete(ctx, views); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(views, func(a, b OrderView) int { return cmp.Compare(b.StartedAt.UnixNano(), a.StartedAt.UnixNano()) })
	return views, nil
}

// FindCharged returns the id of an order that has been charged; empty if there is
// none. It looks at the histories of the orders that ended last first.
func (c *Client) FindCharged(ctx context.Context) (orderID string, err error) {
	var token []byte
	for {
		page, err := c.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace:     c.namespace,
			Query:         statusQuery(""),
			PageSize:      100,
			NextPageToken: token,
		})
		if err != nil {
			return "", err
		}
		for _, info := range page.GetExecutions() {
			view := viewOf(info)
			if err := c.readHistory(ctx, &view, info.GetExecution()); err != nil && !errors.Is(err, ErrNotFound) {
				return "", err
			}
			if view.Charged {
				return view.OrderID, nil
			}
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			return "", nil
		}
	}
}

// statusQuery is the visibility query for orders of a status; empty for all.
// Nothing in it comes from a user.
func statusQuery(status OrderStatus) string {
	query := "WorkflowType = '" + WorkflowType + "'"
	byAttribute := SearchAttributeStatus + " = '" + string(status) + "'"
	switch status {
	case StatusRunning:
		return query + " AND ExecutionStatus = 'Running'"
	case StatusCompleted:
		return query + " AND " + byAttribute
	case StatusFailed:
		return query + " AND (" + byAttribute + " OR ExecutionStatus = 'Failed' OR ExecutionStatus = 'Terminated' OR ExecutionStatus = 'TimedOut')"
	case StatusCancelled:
		return query + " AND (" + byAttribute + " OR ExecutionStatus = 'Canceled')"
	}
	return query
}

// Complete looks up what a brief list does not tell: the stage of the orders that
// are running, and the outcome of those that ended on a server without the
// search attribute.
func (c *Client) Complete(ctx context.Context, views []OrderView) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i := range views {
		view := &views[i]
		if view.Status != "" && view.Status != StatusRunning {
			continue
		}
		group.Go(func() error {
			described, err := c.temporal.DescribeWorkflowExecution(ctx, WorkflowID(view.OrderID), view.RunID)
			if errors.Is(notFound(err), ErrNotFound) { // gone in the meantime
				return nil
			}
			if err != nil {
				return err
			}
			if view.Status == StatusRunning {
				view.addPending(described)
				return nil
			}
			return c.readHistory(ctx, view, described.GetWorkflowExecutionInfo().GetExecution())
		})
	}
	return group.Wait()
}

// viewOf is what the server says of a workflow without a look at its history.
// The status is empty if that does not tell how the order ended.
func viewOf(info *workflowpb.WorkflowExecutionInfo) OrderView {
	view := OrderView{
		Status:    StatusRunning,
		StartedAt: asTime(info.GetStartTime()),
		EndedAt:   asTime(info.GetCloseTime()),
		RunID:     info.GetExecution().GetRunId(),
	}
	view.OrderID = orderID(info.GetExecution().GetWorkflowId())
	view.Stage = StageAccepted
	if memo, ok := info.GetMemo().GetFields()[memoOrder]; ok {
		var order orderMemo
		if decode(memo, &order) == nil {
			order.clip()
			view.Drink, view.Size, view.AmountCents, view.Pricing = order.Drink, order.Size, order.AmountCents, order.Pricing
		}
	}
	switch info.GetStatus() {
	case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED:
		return view
	case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		view.Status = ""
		if value, ok := info.GetSearchAttributes().GetIndexedFields()[SearchAttributeStatus]; ok {
			var status OrderStatus
			if decode(value, &status) == nil {
				view.Status = OrderStatus(clip(string(status), maxName))
			}
		}
	case enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:
		view.Status = StatusCancelled
	default:
		view.Status = StatusFailed
	}
	view.Stage = StageDone
	return view
}

// addPending adds what the server knows of the step that is under way.
func (v *OrderView) addPending(described *workflowservice.DescribeWorkflowExecutionResponse) {
	for _, activity := range described.GetPendingActivities() {
		name := activity.GetActivityType().GetName()
		if stage, ok := stageOf[name]; ok {
			v.Stage = stage
		}
		attempts := int(activity.GetAttempt())
		v.LastFailure = clip(activity.GetLastFailure().GetMessage(), maxText)
		if activity.GetState() == enumspb.PENDING_ACTIVITY_STATE_SCHEDULED {
			attempts-- // the server counts the attempt that is to come
			if attempts > 0 {
				v.NextAttemptAt = asTime(activity.GetNextAttemptScheduleTime())
			}
		}
		if name == ActivityBrewCoffee {
			v.BrewAttempts = attempts
		}
	}
}

var stageOf = map[string]Stage{
	ActivityChargeCustomer: StageCharging,
	ActivityBrewCoffee:     StageBrewing,
	ActivitySendReceipt:    StageSendingReceipt,
	ActivityDeliverCoffee:  StageSendingReceipt,
	ActivityRefundCustomer: StageRefunding,
}

// NoWorker reports whether the order waits for a worker and none is there: it
// has a task that no worker has taken, and none has asked for work since.
func (c *Client) NoWorker(ctx context.Context, orderID string) (bool, error) {
	described, err := c.temporal.DescribeWorkflowExecution(ctx, WorkflowID(orderID), "")
	if err != nil {
		return false, notFound(err)
	}
	waitingSince := waitsSince(described)
	if waitingSince.IsZero() {
		return false, nil
	}
	// The list of pollers alone does not tell: it names a worker that was
	// killed for minutes.
	for _, kind := range []enumspb.TaskQueueType{enumspb.TASK_QUEUE_TYPE_WORKFLOW, enumspb.TASK_QUEUE_TYPE_ACTIVITY} {
		queue, err := c.temporal.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
			Namespace:     c.namespace,
			TaskQueue:     &taskqueuepb.TaskQueue{Name: TaskQueue},
			TaskQueueType: kind,
		})
		if err != nil {
			return false, err
		}
		for _, poller := range queue.GetPollers() {
			if poller.GetLastAccessTime().AsTime().After(waitingSince) {
				return false, nil
			}
		}
	}
	return true, nil
}

// stickyPatience is more than the SDK's default for how long the server offers
// a workflow task to the worker that had the last one before it offers it to all.
const stickyPatience = 6 * time.Second

// waitsSince is since when the order has had a task that no worker has taken;
// zero if it has none.
func waitsSince(described *workflowservice.DescribeWorkflowExecutionResponse) time.Time {
	if task := described.GetPendingWorkflowTask(); task.GetState() == enumspb.PENDING_WORKFLOW_TASK_STATE_SCHEDULED {
		at := asTime(task.GetScheduledTime())
		accepted := viewOf(described.GetWorkflowExecutionInfo()).AmountCents != 0
		if accepted && time.Since(at) < stickyPatience {
			return time.Time{} // it may be reserved for the worker that has the order in its cache
		}
		return at
	}
	for _, activity := range described.GetPendingActivities() {
		if activity.GetState() != enumspb.PENDING_ACTIVITY_STATE_SCHEDULED {
			continue
		}
		at := asTime(activity.GetScheduledTime())
		if next := asTime(activity.GetNextAttemptScheduleTime()); next.After(at) {
			at = next
		}
		if at.Before(time.Now()) {
			return at
		}
	}
	return time.Time{}
}

func asTime(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func decode(payload *commonpb.Payload, value any) error {
	return converter.GetDefaultDataConverter().FromPayload(payload, value)
}
