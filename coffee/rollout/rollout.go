// Package rollout brings another release of the workers into use: it says which versions a
// server knows, which of them new orders begin on, and which orders still need an old one.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/text"
)

// Client does what a [desk.Client] does, and changes which version is current.
type Client struct{ *desk.Client }

// New returns a client for the versions of the workers that make these orders.
func New(orders *desk.Client) *Client { return &Client{orders} }

var (
	// ErrNoDeployments means that the server has no worker deployments, or not in the
	// namespace.
	ErrNoDeployments = errors.New("the server has no worker deployments")
	// ErrNoVersion means that no worker of a version has polled.
	ErrNoVersion = errors.New("no worker of it has polled")
	// ErrVersionRefused means that a worker of a version runs, and that the server does
	// not take the version: it has as many as it may have, unless the worker has just
	// started.
	ErrVersionRefused = errors.New("a worker of it runs, and the server does not know the version")
	// ErrNoWorkers means that no worker of a version is running.
	ErrNoWorkers = errors.New("no worker of it is running")
	// ErrNoPrevious means that no version was current before the current one.
	ErrNoPrevious = errors.New("there is no version to return to")
)

// Deployment is what a server knows about the versions of the workers.
type Deployment struct {
	Name string `json:"deployment"`
	// Versions are the versions, the newest first; none if no worker of the deployment
	// has polled.
	Versions []DeployedVersion `json:"versions"`

	token   []byte         // of what was read, so that two changes at once do not mix
	workers map[string]int // that are running, by build id
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

	firstActive time.Time // when it first got orders
	lastCurrent time.Time // when it last became current
}

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

// Deployment returns the versions of a deployment. It returns [ErrNoDeployments] if the
// server does not have any.
func (c *Client) Deployment(ctx context.Context, name string) (Deployment, error) {
	described, err := c.Temporal().WorkflowService().DescribeWorkerDeployment(ctx, &workflowservice.DescribeWorkerDeploymentRequest{
		Namespace: c.Namespace(), DeploymentName: name,
	})
	if err = noDeployment(err); err != nil && !errors.Is(err, ErrNoVersion) {
		return Deployment{}, err
	}
	info := described.GetWorkerDeploymentInfo()
	workers, err := c.Workers(ctx, coffee.TaskQueue)
	if err != nil {
		return Deployment{}, err
	}
	d := Deployment{Name: name, Versions: []DeployedVersion{}, token: described.GetConflictToken(), workers: workers.Running(name, time.Now())}
	for _, summary := range info.GetVersionSummaries() {
		v := DeployedVersion{
			BuildID:     summary.GetDeploymentVersion().GetBuildId(),
			State:       versionStates[summary.GetStatus()],
			CreatedAt:   desk.AsTime(summary.GetCreateTime()),
			firstActive: desk.AsTime(summary.GetFirstActivationTime()),
			lastCurrent: desk.AsTime(summary.GetLastCurrentTime()),
		}
		if v.State == "ramping" {
			v.Percent = info.GetRoutingConfig().GetRampingVersionPercentage()
		}
		v.Workers = d.workers[v.BuildID]
		if v.Running, err = c.runningOn(ctx, name, v.BuildID); err != nil {
			return Deployment{}, err
		}
		d.Versions = append(d.Versions, v)
	}
	slices.SortFunc(d.Versions, func(a, b DeployedVersion) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return d, nil
}

// CheckWorkers returns [ErrNoWorkers] if no worker of a version is running now.
func (c *Client) CheckWorkers(ctx context.Context, d Deployment, buildID string) error {
	workers, err := c.Workers(ctx, coffee.TaskQueue)
	switch {
	case err != nil, workers.Running(d.Name, time.Now())[buildID] > 0:
		return err
	case workers.Partial:
		return fmt.Errorf("%w, as far as the server's list of workers was read", ErrNoWorkers)
	}
	return ErrNoWorkers
}

// runningOn counts the orders of a version that are under way. It returns -1 if the server
// cannot.
func (c *Client) runningOn(ctx context.Context, deployment, buildID string) (int64, error) {
	if !findable(deployment + ":" + buildID) {
		return -1, nil
	}
	count, err := c.Temporal().CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
		Namespace: c.Namespace(),
		Query:     runningOnQuery(deployment, buildID),
	})
	var invalid *serviceerror.InvalidArgument
	if errors.As(err, &invalid) {
		return -1, nil
	}
	return count.GetCount(), err
}

// findable reports whether the server finds the orders of a version. Its SQL stores do not
// find a value with one of these characters, although they take it (escapeCharMap in
// go.temporal.io/server/common/persistence/visibility).
func findable(version string) bool {
	return !strings.ContainsAny(version, "\"\\\b\n\r\t") && !strings.HasSuffix(version, "'")
}

func runningOnQuery(deployment, buildID string) string {
	return desk.StatusQuery(coffee.StatusRunning) + " AND TemporalWorkerDeploymentVersion = " + quoteValue(deployment+":"+buildID)
}

var versionStates = map[enumspb.WorkerDeploymentVersionStatus]string{
	enumspb.WORKER_DEPLOYMENT_VERSION_STATUS_CREATED:  "created",
	enumspb.WORKER_DEPLOYMENT_VERSION_STATUS_INACTIVE: "inactive",
	enumspb.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT:  "current",
	enumspb.WORKER_DEPLOYMENT_VERSION_STATUS_RAMPING:  "ramping",
	enumspb.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING: "draining",
	enumspb.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED:  "drained",
}

// Version returns a version of the deployment, or [ErrNoVersion] or [ErrVersionRefused].
func (d Deployment) Version(buildID string) (DeployedVersion, error) {
	for _, v := range d.Versions {
		if v.BuildID == buildID {
			return v, nil
		}
	}
	if d.workers[buildID] > 0 {
		return DeployedVersion{}, ErrVersionRefused
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

// Previous returns the version that was current before the current one. It returns
// [ErrNoPrevious] if there is none, and if that one is the newer of the two: going back
// to it would bring back what was withdrawn.
func (d Deployment) Previous() (DeployedVersion, error) {
	current, _ := d.Current()
	var previous DeployedVersion
	for _, v := range d.Versions {
		if v.State != "current" && v.lastCurrent.After(previous.lastCurrent) {
			previous = v
		}
	}
	switch {
	case previous.BuildID == "":
		return previous, ErrNoPrevious
	case previous.firstActive.After(current.firstActive):
		return previous, fmt.Errorf("%w: %s, which was current before, is newer", ErrNoPrevious, text.Printable(previous.BuildID))
	}
	return previous, nil
}

// Removable returns an error that says why the version cannot be deleted, or nil. The
// server has the last word: it keeps a version whose workers have polled in the last five
// minutes.
func (v DeployedVersion) Removable() error {
	switch {
	case v.State == "current" || v.State == "ramping":
		return fmt.Errorf("it is %s: new orders begin on it", v.State)
	case v.State == "draining":
		return errors.New("orders that are pinned to it are under way")
	case v.Workers > 0:
		return errors.New("a worker of it is polling")
	}
	return nil
}

// quoteValue quotes a text as a value in a visibility query.
func quoteValue(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'"
}
