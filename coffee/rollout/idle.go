package rollout

import (
	"context"
	"errors"
	"fmt"

	deploymentpb "go.temporal.io/api/deployment/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/worker"

	"example.com/coffee/coffee"
)

// IdleError says that the server sends no orders to the workers of a version.
type IdleError struct {
	// Version is that of the workers; its BuildID is empty if they have none.
	Version worker.WorkerDeploymentVersion
	// Current is the version that new orders begin on; its BuildID is empty if they begin
	// on workers without a version.
	Current worker.WorkerDeploymentVersion
}

func (e *IdleError) Error() string {
	name := func(v worker.WorkerDeploymentVersion) string {
		if v.BuildID == "" {
			return "no version"
		}
		return v.DeploymentName + ":" + v.BuildID
	}
	return fmt.Sprintf("this worker gets no orders: it has %s, and %s is current", name(e.Version), name(e.Current))
}

// CheckVersion returns an [*IdleError] if the server sends no orders to the workers of a
// version: neither new ones nor those that are pinned to it. On a server without worker
// deployments all workers get orders.
func (c *Client) CheckVersion(ctx context.Context, version worker.WorkerDeploymentVersion) error {
	queue, err := c.Temporal().WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace: c.Namespace(), TaskQueue: &taskqueuepb.TaskQueue{Name: coffee.TaskQueue}, TaskQueueType: enumspb.TASK_QUEUE_TYPE_WORKFLOW,
	})
	if err != nil {
		return err
	}
	is := func(v *deploymentpb.WorkerDeploymentVersion) bool {
		return v.GetBuildId() == version.BuildID && (version.BuildID == "" || v.GetDeploymentName() == version.DeploymentName)
	}
	routing := queue.GetVersioningInfo()
	current := routing.GetCurrentDeploymentVersion()
	if is(current) || routing.GetRampingVersionPercentage() > 0 && is(routing.GetRampingDeploymentVersion()) {
		return nil
	}
	if version.BuildID != "" {
		described, err := c.Temporal().WorkflowService().DescribeWorkerDeploymentVersion(ctx, &workflowservice.DescribeWorkerDeploymentVersionRequest{
			Namespace:         c.Namespace(),
			DeploymentVersion: &deploymentpb.WorkerDeploymentVersion{DeploymentName: version.DeploymentName, BuildId: version.BuildID},
		})
		var unknown *serviceerror.NotFound // its workers have not polled yet
		if errors.As(err, &unknown) || errors.Is(noDeployment(err), ErrNoDeployments) {
			return nil
		}
		if err != nil {
			return err
		}
		if described.GetWorkerDeploymentVersionInfo().GetStatus() == enumspb.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING {
			return nil // its own orders are under way
		}
	}
	return &IdleError{Version: version, Current: worker.WorkerDeploymentVersion{DeploymentName: current.GetDeploymentName(), BuildID: current.GetBuildId()}}
}
