package encryption

import (
	"context"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// mostChecked is how many running workflows [CheckWorker] looks at.
const mostChecked = 100

// CheckWorker returns a [*MissingKeyError] if a worker on a task queue would get
// activities that it cannot read: if it cannot read the memo of a running workflow that
// another worker has worked on. A workflow that no worker has touched proves nothing,
// because its client may have had the wrong keyset. The client must have
// [Keyset.DialOption].
func (k *Keyset) CheckWorker(ctx context.Context, c client.Client, taskQueue string) error {
	list, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Query:    "ExecutionStatus = 'Running' AND TaskQueue = '" + taskQueue + "'",
		PageSize: mostChecked,
	})
	if err != nil {
		return err
	}
	for _, info := range list.GetExecutions() {
		for _, payload := range info.GetMemo().GetFields() {
			if !isEncrypted(payload) {
				continue
			}
			worked, err := workedOn(ctx, c, info.GetExecution())
			if err != nil {
				return err
			}
			if !worked {
				continue
			}
			if _, err := k.decrypt(payload, info.GetExecution().GetWorkflowId()); err != nil {
				return err
			}
		}
	}
	return nil
}

// workedOn reports whether a worker has completed a task of a workflow: the history says
// so in one of its first events.
func workedOn(ctx context.Context, c client.Client, execution *commonpb.WorkflowExecution) (bool, error) {
	events := c.GetWorkflowHistory(context.WithValue(ctx, plain{}, true), execution.GetWorkflowId(), execution.GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for range 10 {
		if !events.HasNext() {
			break
		}
		event, err := events.Next()
		if err != nil {
			return false, err
		}
		if event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
			return true, nil
		}
	}
	return false, nil
}
