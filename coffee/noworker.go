package coffee

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// NoWorker reports whether the order is waiting for a worker that is not there: it
// has a task that no worker has taken, and no worker has polled since the task was
// due. It returns [ErrNotFound] if there is no such order.
func (c *Client) NoWorker(ctx context.Context, orderID string) (bool, error) {
	described, err := c.temporal.DescribeWorkflowExecution(ctx, WorkflowID(orderID), "")
	if err != nil {
		return false, notFound(orderID, err)
	}
	waitingSince := waitsSince(described)
	if waitingSince.IsZero() {
		return false, nil
	}
	// The list of pollers alone is not enough: a worker that was killed stays in it
	// for minutes.
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

// stickyPatience is longer than the SDK's default for how long the server offers a
// workflow task to the worker that had the last one before it offers it to all.
const stickyPatience = 6 * time.Second

// waitsSince returns since when the order has had a task that no worker has taken;
// zero if it has no such task.
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
