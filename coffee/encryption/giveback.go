package encryption

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// ErrorTypeUnreadable is the type of the failure with which a worker gives back a task
// that it cannot decrypt.
const ErrorTypeUnreadable = "Unreadable"

// plain marks the context of a call that is not encrypted: why a worker gives back a
// task must be readable for those who have another keyset.
type plain struct{}

// answerTimeout bounds how long it takes to give back a task. One that is not given back
// times out.
const answerTimeout = 5 * time.Second

// giveBackWorkflowTask fails a workflow task, which any worker can do again, and leaves
// an empty response, as if there had been no task. The server hands the task out again
// at once. Then there is nothing new to say: it times out after ten seconds, and after
// some attempts the server waits longer and longer, up to ten minutes.
func (i interceptor) giveBackWorkflowTask(ctx context.Context, conn *grpc.ClientConn, from workerRequest, task *workflowservice.PollWorkflowTaskQueueResponse, cause error) error {
	ctx, cancel := answerContext(ctx)
	defer cancel()
	service := workflowservice.NewWorkflowServiceClient(conn)
	var err error
	if task.GetQuery() != nil {
		_, err = service.RespondQueryTaskCompleted(ctx, &workflowservice.RespondQueryTaskCompletedRequest{
			TaskToken:     task.GetTaskToken(),
			Namespace:     from.GetNamespace(),
			CompletedType: enumspb.QUERY_RESULT_TYPE_FAILED,
			ErrorMessage:  cause.Error(),
		})
	} else if task.GetAttempt() <= 1 {
		_, err = service.RespondWorkflowTaskFailed(ctx, &workflowservice.RespondWorkflowTaskFailedRequest{
			TaskToken:         task.GetTaskToken(),
			Namespace:         from.GetNamespace(),
			Identity:          from.GetIdentity(),
			Cause:             enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE,
			Failure:           unreadable(cause),
			ResourceId:        "workflow:" + task.GetWorkflowExecution().GetWorkflowId(),
			DeploymentOptions: from.GetDeploymentOptions(),
		})
	}
	proto.Reset(task)
	i.watch.refuse(cause, false)
	return err
}

// giveBackActivity fails the attempt of an activity, and leaves an empty response.
func (i interceptor) giveBackActivity(ctx context.Context, conn *grpc.ClientConn, from workerRequest, task *workflowservice.PollActivityTaskQueueResponse, cause error) error {
	ctx, cancel := answerContext(ctx)
	defer cancel()
	_, err := workflowservice.NewWorkflowServiceClient(conn).RespondActivityTaskFailed(ctx, &workflowservice.RespondActivityTaskFailedRequest{
		TaskToken:         task.GetTaskToken(),
		Namespace:         from.GetNamespace(),
		Identity:          from.GetIdentity(),
		Failure:           unreadable(cause),
		ResourceId:        "workflow:" + task.GetWorkflowExecution().GetWorkflowId(),
		DeploymentOptions: from.GetDeploymentOptions(),
	})
	proto.Reset(task)
	i.watch.refuse(cause, true)
	return err
}

// answerContext returns the context of an answer. It has the headers of the poll, and
// goes on if that was given up.
func answerContext(poll context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithValue(context.WithoutCancel(poll), plain{}, true), answerTimeout)
}

func unreadable(cause error) *failurepb.Failure {
	return &failurepb.Failure{
		Message: cause.Error(),
		Source:  "coffee",
		FailureInfo: &failurepb.Failure_ApplicationFailureInfo{
			ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: ErrorTypeUnreadable},
		},
	}
}
