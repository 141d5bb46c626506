package coffee

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
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

var (
	// ErrNoDeployments means that the server has no worker deployments, or not in the
	// namespace.
	ErrNoDeployments = errors.New("the server has no worker deployments")
	// ErrNoVersion means that no worker of a version, or of the deployment, has polled.
	ErrNoVersion = errors.New("no worker of it has polled")
)

// Deployment is what a server knows about the versions of the workers.
type Deployment struct {
	Name string `json:"deployment"`
	// Versions are the versions, the newest first.
	Versions []DeployedVersion `json:"versions"`

	token []byte // of what was read, so that two changes at once do not mix
}

// DeployedVersion is one version of the workers.
type DeployedVersion struct {
	BuildID string `json:"build_id"`
	// State is created, inactive, current, ramping, draining or drained, in words of
	// the server's. A version that is drained has no order left.
	State string `json:"state"`
	// Percent is the share of new orders that a ramping version gets.
	Percent float32 `json:"percent,omitempty"`
	// Workers is how many workers of the version are running, as far as is known.
	Workers int `json:"workers"`
	// Running is how many orders of the version are under way; -1 if the server cannot
	// count those of a version with this name.
	Running   int64     `json:"running"`
	CreatedAt time.Time `json:"created_at"`

	lastCurrent time.Time
}

// Deployment returns the versions of a deployment. It returns [ErrNoDeployments], or
// [ErrNoVersion] if there is no such deployment.
func (c *Client) Deployment(ctx context.Context, name string) (Deployment, error) {
	described, err := c.temporal.WorkflowService().DescribeWorkerDeployment(ctx, &workflowservice.DescribeWorkerDeploymentRequest{
		Namespace: c.namespace, DeploymentName: name,
	})
	if err != nil {
		return Deployment{}, noDeployment(err)
	}
	info := described.GetWorkerDeploymentInfo()
	d := Deployment{Name: name, Versions: []DeployedVersion{}, token: described.GetConflictToken()}
	workers, err := c.crew(ctx, TaskQueue)
	if err != nil {
		return Deployment{}, err
	}
	for _, summary := range info.GetVersionSummaries() {
		v := DeployedVersion{
			BuildID:     summary.GetDeploymentVersion().GetBuildId(),
			State:       versionStates[summary.GetStatus()],
			CreatedAt:   asTime(summary.GetCreateTime()),
			lastCurrent: asTime(summary.GetLastCurrentTime()),
		}
		if v.State == "ramping" {
			v.Percent = info.GetRoutingConfig().GetRampingVersionPercentage()
		}
		v.Workers = workers.running(summary.GetDeploymentVersion(), time.Now())
		if v.Running, err = c.runningOn(ctx, name, v.BuildID); err != nil {
			return Deployment{}, err
		}
		d.Versions = append(d.Versions, v)
	}
	slices.SortFunc(d.Versions, func(a, b DeployedVersion) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return d, nil
}

// runningOn counts the orders of a version that are under way. It returns -1 if the server
// cannot: its SQL stores do not find a value with one of these characters, although they
// take it (escapeCharMap in go.temporal.io/server/common/persistence/visibility).
func (c *Client) runningOn(ctx context.Context, deployment, buildID string) (int64, error) {
	if strings.ContainsAny(buildID, "\"\\\b\n\r\t") || strings.HasSuffix(buildID, "'") {
		return -1, nil
	}
	count, err := c.temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
		Namespace: c.namespace,
		Query:     statusQuery(StatusRunning) + " AND TemporalWorkerDeploymentVersion = " + quoteValue(deployment+":"+buildID),
	})
	var invalid *serviceerror.InvalidArgument
	if errors.As(err, &invalid) {
		return -1, nil
	}
	return count.GetCount(), err
}

var versionStates = map[enumspb.WorkerDeploymentVersionStatus]string{
	enumspb.WORKER_DEPLOYMENT_VERSION_STATUS_CREATED:  "created",
	enumspb.WORKER_DEPLOYMENT_VERSION_STATUS_INACTIVE: "inactive",
	enumspb.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT:  "current",
	enumspb.WORKER_DEPLOYMENT_VERSION_STATUS_RAMPING:  "ramping",
	enumspb.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING: "draining",
	enumspb.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED:  "drained",
}

// Version returns a version of the deployment, or [ErrNoVersion].
func (d Deployment) Version(buildID string) (DeployedVersion, error) {
	for _, v := range d.Versions {
		if v.BuildID == buildID {
			return v, nil
		}
	}
	return DeployedVersion{}, ErrNoVersion
}

// Current returns the version that new orders begin on; false if there is none.
func (d Deployment) Current() (DeployedVersion, bool) { return d.inState("current") }

// Ramping returns the version that a share of the new orders begins on; false if there
// is none.
func (d Deployment) Ramping() (DeployedVersion, bool) { return d.inState("ramping") }

func (d Deployment) inState(state string) (DeployedVersion, bool) {
	i := slices.IndexFunc(d.Versions, func(v DeployedVersion) bool { return v.State == state })
	if i < 0 {
		return DeployedVersion{}, false
	}
	return d.Versions[i], true
}

// Previous returns the version that was current before the current one; false if there
// is none.
func (d Deployment) Previous() (previous DeployedVersion, ok bool) {
	for _, v := range d.Versions {
		if v.State != "current" && v.lastCurrent.After(previous.lastCurrent) {
			previous, ok = v, true
		}
	}
	return previous, ok
}

// SetCurrent makes a version the one that new orders begin on, and that orders under
// way that are not pinned go on with. It ends a ramp to that version. It fails if the
// deployment has changed since it was read.
func (c *Client) SetCurrent(ctx context.Context, d Deployment, buildID string) error {
	_, err := c.temporal.WorkerDeploymentClient().GetHandle(d.Name).SetCurrentVersion(ctx, client.WorkerDeploymentSetCurrentVersionOptions{
		BuildID: buildID, ConflictToken: d.token,
	})
	return noDeployment(err)
}

// SetRamping lets a share of the new orders, and of those under way that are not
// pinned, begin or go on with a version. An empty buildID ends the ramp. It fails if
// the deployment has changed since it was read.
func (c *Client) SetRamping(ctx context.Context, d Deployment, buildID string, percent float32) error {
	_, err := c.temporal.WorkerDeploymentClient().GetHandle(d.Name).SetRampingVersion(ctx, client.WorkerDeploymentSetRampingVersionOptions{
		BuildID: buildID, Percentage: percent, ConflictToken: d.token,
	})
	return noDeployment(err)
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

// Movable returns the histories of the running orders that would go on with another
// version if one became current: all that are not pinned. Its errors are those of
// [Client.Histories].
func (c *Client) Movable(ctx context.Context) iter.Seq2[History, error] {
	return c.histories(ctx, statusQuery(StatusRunning)+" AND (TemporalWorkflowVersioningBehavior IS NULL OR TemporalWorkflowVersioningBehavior != 'Pinned')", 0)
}
