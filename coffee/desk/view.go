package desk

import (
	"cmp"
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/text"
	"example.com/coffee/timeline"
)

// OrderView is an order as seen from outside its workflow.
type OrderView struct {
	coffee.OrderState
	Status coffee.OrderStatus `json:"status"`
	// CancelRequested is true once a cancel has been recorded, whether or not
	// it came in time.
	CancelRequested bool `json:"cancel_requested"`
	// BrewAttempts is how many times the machine was started.
	BrewAttempts int `json:"brew_attempts"`
	// LastFailure is why the last attempt of the current step failed.
	LastFailure string `json:"last_failure,omitempty"`
	// WorkflowTaskFailure is why a worker could not go on with the workflow, if the last
	// one that tried could not: mostly a nondeterminism error.
	WorkflowTaskFailure string `json:"workflow_task_failure,omitempty"`
	// Unindexed is true if that worker could not because the server has lost the search
	// attribute that the order writes its outcome to.
	Unindexed bool `json:"unindexed,omitempty"`
	// Paused is who has paused the order or its current step, and why: "by IDENTITY: REASON",
	// or as much of that as the server tells; empty if nobody has.
	Paused string `json:"paused,omitempty"`
	// Waiting is why the order does not go on, and what can be done; empty if nothing is
	// known to be in its way. Only [Client.Describe] looks.
	Waiting string `json:"waiting,omitempty"`
	// NextAttemptAt is when the current step is tried again; zero if no retry is pending.
	NextAttemptAt time.Time `json:"next_attempt_at,omitzero"`
	StartedAt     time.Time `json:"started_at"`
	// EndedAt is zero while the order is running.
	EndedAt time.Time `json:"ended_at,omitzero"`
	// WorkerAnswered is false if no worker answered, so that the view holds only
	// what the server knows. It is true for an order that is over.
	WorkerAnswered bool   `json:"worker_answered"`
	RunID          string `json:"run_id"`
	// WorkflowID is the id of the workflow; empty if it is "order-" and the order id, as
	// it is unless another program has started it.
	WorkflowID string `json:"workflow_id,omitempty"`
	// Unreadable is why the order cannot be read; empty if it can.
	Unreadable string `json:"unreadable,omitempty"`
	// Encrypted is true if what was ordered cannot be read without another keyset.
	Encrypted bool `json:"encrypted,omitempty"`
	// WorkerBuildID names the release of the workers that the order runs on; empty if
	// they have no version.
	WorkerBuildID string `json:"worker_build_id,omitempty"`
}

// workflowID returns the id of the order's workflow.
func (v OrderView) workflowID() string { return cmp.Or(v.WorkflowID, coffee.WorkflowID(v.OrderID)) }

// Age returns how long the order took, or has taken so far.
func (v OrderView) Age() time.Duration {
	if v.EndedAt.IsZero() {
		return time.Since(v.StartedAt)
	}
	return v.EndedAt.Sub(v.StartedAt)
}

// queryPatience is how long to wait for a worker to answer a query before settling
// for what the server knows.
const queryPatience = time.Second

// Describe returns everything known about one order, from its history and, while it
// runs, from a worker. It returns an [*coffee.InvalidOrderError] if no order can have this
// id, or [coffee.ErrNotFound].
func (c *Client) Describe(ctx context.Context, orderID string) (OrderView, error) {
	if err := coffee.ValidateForeignID(orderID); err != nil {
		return OrderView{}, err
	}
	described, err := c.Lookup(ctx, orderID, "")
	if err != nil {
		return OrderView{}, err
	}
	info := described.GetWorkflowExecutionInfo()
	view := viewOf(info)
	view.OrderID = orderID // even of a workflow that only looks like an order
	if err := c.readHistory(ctx, &view, info.GetExecution()); err != nil {
		return OrderView{}, err
	}
	view.addPending(described)
	if view.Status != coffee.StatusRunning {
		view.WorkerAnswered = true
		return view, nil
	}
	waits, _ := c.waiting(ctx, described)
	view.Waiting = waits.String() // nothing, if the server cannot say
	queryCtx, cancel := context.WithTimeout(ctx, queryPatience)
	defer cancel()
	if state, err := c.State(queryCtx, orderID); err == nil {
		view.OrderState, view.WorkerAnswered = state, true
	} else if ctx.Err() != nil {
		return OrderView{}, ctx.Err()
	}
	return view, nil
}

// viewOf returns what the server's summary says about a workflow. The status is
// empty if the summary does not say how the order ended.
func viewOf(info *workflowpb.WorkflowExecutionInfo) OrderView {
	view := OrderView{
		Status:    coffee.StatusRunning,
		StartedAt: AsTime(info.GetStartTime()),
		EndedAt:   AsTime(info.GetCloseTime()),
		RunID:     info.GetExecution().GetRunId(),

		WorkerBuildID: text.Clip(info.GetVersioningInfo().GetDeploymentVersion().GetBuildId(), text.MaxName),
	}
	workflowID := info.GetExecution().GetWorkflowId()
	if view.OrderID = coffee.OrderID(workflowID); coffee.WorkflowID(view.OrderID) != workflowID {
		view.WorkflowID = workflowID
	}
	view.Stage = coffee.StageAccepted
	if order, ok := coffee.DecodeMemo(info.GetMemo()); ok {
		view.Drink, view.Size, view.AmountCents, view.Pricing = order.Drink, order.Size, order.AmountCents, order.Pricing
	}
	view.Encrypted = coffee.EncryptionProblem(info.GetMemo().GetFields()[coffee.MemoOrder]) != ""
	switch info.GetStatus() {
	case enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED:
		view.Paused = timeline.PausedBy("", "")
		return view
	case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
		return view
	case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		view.Status = ""
		if value, ok := info.GetSearchAttributes().GetIndexedFields()[coffee.SearchAttributeStatus]; ok {
			var status coffee.OrderStatus
			if coffee.Decode(value, &status) {
				view.Status = coffee.OrderStatus(text.Clip(string(status), text.MaxName))
			}
		}
	case enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:
		view.Status = coffee.StatusCancelled
	default:
		view.Status = coffee.StatusFailed
	}
	view.Stage = coffee.StageDone
	return view
}

// addPending adds what the server knows about the step in progress. An order that is
// over can still have one: a brew that was cancelled and has not noticed yet.
func (v *OrderView) addPending(described *workflowservice.DescribeWorkflowExecutionResponse) {
	if v.Paused != "" { // the list says only that it is
		by := described.GetWorkflowExtendedInfo().GetPauseInfo()
		v.Paused = timeline.PausedBy(by.GetIdentity(), by.GetReason())
	}
	for _, activity := range described.GetPendingActivities() {
		name := activity.GetActivityType().GetName()
		attempts := int(activity.GetAttempt())
		paused := activity.GetState() == enumspb.PENDING_ACTIVITY_STATE_PAUSED
		waits := activity.GetState() == enumspb.PENDING_ACTIVITY_STATE_SCHEDULED
		if waits || paused {
			attempts-- // the server counts the attempt that is to come
		}
		if name == coffee.ActivityBrewCoffee {
			v.BrewAttempts = attempts
		}
		if v.Status != coffee.StatusRunning {
			continue
		}
		v.Stage = cmp.Or(stageOf[name], v.Stage)
		if paused || activity.GetState() == enumspb.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED {
			v.Paused = timeline.ActivityPausedBy(activity)
		}
		v.LastFailure = text.Clip(activity.GetLastFailure().GetMessage(), text.MaxText)
		if waits && attempts > 0 {
			v.NextAttemptAt = AsTime(activity.GetNextAttemptScheduleTime())
		}
	}
}

var stageOf = map[string]coffee.Stage{
	coffee.ActivityChargeCustomer: coffee.StageCharging,
	coffee.ActivityBrewCoffee:     coffee.StageBrewing,
	coffee.ActivitySendReceipt:    coffee.StageSendingReceipt,
	coffee.ActivityDeliverCoffee:  coffee.StageSendingReceipt,
	coffee.ActivityRefundCustomer: coffee.StageRefunding,
}

// AsTime returns the time of a message that may not have one: then it is zero.
func AsTime(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
