package rollout

import (
	"context"
	"errors"
	"strings"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
)

// CheckDeployments returns [ErrNoDeployments] if the server has no worker deployments.
// Its workers would then ignore their version.
func (c *Client) CheckDeployments(ctx context.Context) error {
	_, err := c.Temporal().WorkflowService().ListWorkerDeployments(ctx, &workflowservice.ListWorkerDeploymentsRequest{Namespace: c.Namespace(), PageSize: 1})
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
