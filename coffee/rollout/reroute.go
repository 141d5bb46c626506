package rollout

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/text"
)

// SetCurrent makes a version the one that new orders begin on, and that orders under
// way that are not pinned go on with. Before, it ends the ramp of another version. It
// fails if the deployment has changed since it was read.
func (c *Client) SetCurrent(ctx context.Context, d Deployment, buildID string) error {
	if ramping, ok := d.Ramping(); ok && ramping.BuildID != buildID {
		if err := c.SetRamping(ctx, &d, "", 0); err != nil {
			return err
		}
	}
	_, err := c.Temporal().WorkerDeploymentClient().GetHandle(d.Name).SetCurrentVersion(ctx, client.WorkerDeploymentSetCurrentVersionOptions{
		BuildID: buildID, ConflictToken: d.token,
	})
	return noDeployment(err)
}

// SetRamping lets a share of the new orders, and of those under way that are not
// pinned, begin or go on with a version. An empty buildID ends the ramp. It fails if
// the deployment has changed since it was read; this change counts as read.
func (c *Client) SetRamping(ctx context.Context, d *Deployment, buildID string, percent float32) error {
	ramped, err := c.Temporal().WorkerDeploymentClient().GetHandle(d.Name).SetRampingVersion(ctx, client.WorkerDeploymentSetRampingVersionOptions{
		BuildID: buildID, Percentage: percent, ConflictToken: d.token,
	})
	if err == nil {
		d.token = ramped.ConflictToken
	}
	return noDeployment(err)
}

// DeleteVersion makes the server forget a version, which frees its place in the
// deployment. The server refuses that with a FailedPrecondition while the version is in
// use.
func (c *Client) DeleteVersion(ctx context.Context, d Deployment, buildID string) error {
	_, err := c.Temporal().WorkerDeploymentClient().GetHandle(d.Name).DeleteVersion(ctx, client.WorkerDeploymentDeleteVersionOptions{BuildID: buildID})
	return noDeployment(err)
}

// Movable returns the histories of the running orders that would go on with another
// version if one became current: all that are not pinned. Its errors are those of
// [desk.Client.Histories].
func (c *Client) Movable(ctx context.Context) iter.Seq2[desk.History, error] {
	return c.HistoriesOf(ctx, desk.StatusQuery(coffee.StatusRunning)+" AND (TemporalWorkflowVersioningBehavior IS NULL OR TemporalWorkflowVersioningBehavior != 'Pinned')", 0)
}

// PinnedTo returns the histories of the running orders that are pinned to a version. Its
// errors are those of [desk.Client.Histories], and one if the server cannot find orders by this
// version.
func (c *Client) PinnedTo(ctx context.Context, d Deployment, buildID string) iter.Seq2[desk.History, error] {
	if !findable(d.Name + ":" + buildID) {
		return func(yield func(desk.History, error) bool) {
			yield(desk.History{}, fmt.Errorf("the server cannot find the orders of version %s", text.Printable(buildID)))
		}
	}
	return c.HistoriesOf(ctx, runningOnQuery(d.Name, buildID)+" AND TemporalWorkflowVersioningBehavior = 'Pinned'", 0)
}

// Repin overrides the version of an order: from now on it is pinned to this one. It does
// nothing to an order that has ended.
func (c *Client) Repin(ctx context.Context, d Deployment, buildID, orderID string) error {
	_, err := c.Temporal().UpdateWorkflowExecutionOptions(ctx, client.UpdateWorkflowExecutionOptionsRequest{
		WorkflowId: coffee.WorkflowID(orderID),
		WorkflowExecutionOptionsChanges: client.WorkflowExecutionOptionsChanges{
			VersioningOverride: &client.VersioningOverrideChange{
				Value: &client.PinnedVersioningOverride{Version: worker.WorkerDeploymentVersion{DeploymentName: d.Name, BuildID: buildID}},
			},
		},
	})
	var ended *serviceerror.NotFound
	if errors.As(err, &ended) {
		return nil
	}
	return err
}
