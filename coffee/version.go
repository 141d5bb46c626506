package coffee

import (
	"context"
	"errors"
	"strings"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// DefaultDeployment is the name of the deployment that the workers belong to if they
// have a version.
const DefaultDeployment = "coffee"

// WorkerVersion is the release that a worker runs. With it, the server decides which
// orders the worker gets: new ones go to the version that is current, see
// [Client.SetCurrent]. The zero value means that the worker has no version, and gets
// any order.
type WorkerVersion struct {
	Deployment string // the workers that belong together, in all versions
	BuildID    string // names the release
	// Behavior says what happens to the orders that are under way when another
	// version becomes current. Pinned ones end on the version that they began on, so
	// they never replay on another one. The others are auto-upgraded: they go on with
	// the new version, whose code must be able to replay them. It is required.
	Behavior workflow.VersioningBehavior
}

// options returns the SDK's options.
func (v WorkerVersion) options() worker.DeploymentOptions {
	if v.BuildID == "" {
		return worker.DeploymentOptions{}
	}
	return worker.DeploymentOptions{
		UseVersioning:             true,
		Version:                   worker.WorkerDeploymentVersion{DeploymentName: v.Deployment, BuildID: v.BuildID},
		DefaultVersioningBehavior: v.Behavior,
	}
}

// CheckDeployments returns [ErrNoDeployments] if the server has no worker deployments.
// Its workers would then ignore their version.
func (c *Client) CheckDeployments(ctx context.Context) error {
	_, err := c.temporal.WorkflowService().ListWorkerDeployments(ctx, &workflowservice.ListWorkerDeploymentsRequest{Namespace: c.namespace, PageSize: 1})
	return noDeployment(err)
}

func noDeployment(err error) error {
	var unimplemented *serviceerror.Unimplemented
	var denied *serviceerror.PermissionDenied
	var missing *serviceerror.NotFound
	switch {
	case errors.As(err, &unimplemented):
		return ErrNoDeployments
	case errors.As(err, &denied) && strings.Contains(denied.Error(), "Deployment Versions are disabled"):
		return ErrNoDeployments
	case errors.As(err, &missing):
		return ErrNoVersion
	}
	return err
}
