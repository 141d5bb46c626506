package encryption

import (
	"context"
	"errors"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// mostChecked is how many workflows [Keyset.CheckWorker] looks at, at most.
const mostChecked = 100

// CheckWorker returns a [*MissingKeyError] if a worker on a task queue would get
// activities that it cannot read, and none that it can: if there is a running workflow
// that another worker has worked on and whose memo it cannot read, and no other workflow,
// running or over, whose memo it can. A workflow that no worker has touched proves nothing,
// because its client may have had the wrong keyset, and neither does one beside others: so
// one client or worker with the wrong keyset keeps no other worker away. The client must
// have [Keyset.DialOption].
func (k *Keyset) CheckWorker(ctx context.Context, c client.Client, taskQueue string) error {
	onQueue := "TaskQueue = '" + taskQueue + "'"
	running, err := memos(ctx, c, onQueue+" AND ExecutionStatus = 'Running'")
	if err != nil {
		return err
	}
	var missing *MissingKeyError
	for _, memo := range running {
		_, err := k.decrypt(memo.payload, memo.execution.GetWorkflowId())
		if err == nil {
			return nil
		}
		if missing == nil && errors.As(err, &missing) && !workedOn(ctx, c, memo.execution) {
			missing = nil
		}
	}
	if missing == nil {
		return nil
	}
	all, err := memos(ctx, c, onQueue)
	if err != nil {
		return err
	}
	for _, memo := range all {
		if _, err := k.decrypt(memo.payload, memo.execution.GetWorkflowId()); err == nil {
			return nil
		}
	}
	return missing
}

// memo is a field of a workflow's memo.
type memo struct {
	execution *commonpb.WorkflowExecution
	payload   *commonpb.Payload
}

// memos returns the memos of the newest workflows that a query finds. Those that can be
// decrypted are decrypted.
func memos(ctx context.Context, c client.Client, query string) (found []memo, err error) {
	list, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query, PageSize: mostChecked})
	for _, info := range list.GetExecutions() {
		for _, payload := range info.GetMemo().GetFields() {
			found = append(found, memo{info.GetExecution(), payload})
		}
	}
	return found, err
}

// workedOn reports whether a worker has completed a task of a workflow: the history says
// so in one of its first events. One that cannot be read, or is gone, says nothing.
func workedOn(ctx context.Context, c client.Client, execution *commonpb.WorkflowExecution) bool {
	events := c.GetWorkflowHistory(context.WithValue(ctx, plain{}, true), execution.GetWorkflowId(), execution.GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for range 10 {
		if !events.HasNext() {
			break
		}
		event, err := events.Next()
		if err != nil {
			return false
		}
		if event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
			return true
		}
	}
	return false
}
