package coffee

import (
	"context"
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workerpb "go.temporal.io/api/worker/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// pollerPatience is a little longer than a poll may take.
const pollerPatience = 70 * time.Second

// versionWorkers counts the workers of a deployment by their build id.
type versionWorkers struct {
	polling   map[string]int // those that have begun a poll lately, and run
	unsure    map[string]int // those that have begun one, and may have stopped since
	reporting map[string]int // those that send heartbeats, whether their polls are taken or not
}

// count returns how many workers of a version poll; -1 if that is not known.
func (w versionWorkers) count(buildID string) int {
	if w.polling[buildID] == 0 && w.unsure[buildID] > 0 {
		return -1
	}
	return w.polling[buildID]
}

// CheckWorkers returns [ErrNoWorkers] if no worker of a version polls, and
// [ErrWorkersUnknown] if the server cannot tell.
func (c *Client) CheckWorkers(ctx context.Context, d Deployment, buildID string) error {
	workers, err := c.versionWorkers(ctx, d.Name)
	switch n := workers.count(buildID); {
	case err != nil:
		return err
	case n < 0:
		return ErrWorkersUnknown
	case n == 0:
		return ErrNoWorkers
	}
	return nil
}

// versionWorkers asks the server for the pollers of the task queue, and for the workers
// that send heartbeats.
func (c *Client) versionWorkers(ctx context.Context, deployment string) (versionWorkers, error) {
	service := c.temporal.WorkflowService()
	queue, err := service.DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace:     c.namespace,
		TaskQueue:     &taskqueuepb.TaskQueue{Name: TaskQueue},
		TaskQueueType: enumspb.TASK_QUEUE_TYPE_WORKFLOW,
	})
	if err != nil {
		return versionWorkers{}, err
	}
	namespace, err := service.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: c.namespace})
	if err != nil && !isDenied(err) {
		return versionWorkers{}, err
	}
	known := namespace.GetNamespaceInfo().GetCapabilities().GetWorkerHeartbeats()
	var alive []*workerpb.WorkerListInfo
	for request := (&workflowservice.ListWorkersRequest{Namespace: c.namespace, Query: "TaskQueue = " + quoteValue(TaskQueue)}); known; {
		page, err := service.ListWorkers(ctx, request)
		var unimplemented *serviceerror.Unimplemented
		if known = !isDenied(err) && !errors.As(err, &unimplemented); !known {
			break
		}
		if err != nil {
			return versionWorkers{}, err
		}
		alive = append(alive, page.GetWorkers()...)
		if request.NextPageToken = page.GetNextPageToken(); len(request.NextPageToken) == 0 {
			break
		}
	}
	return countWorkers(deployment, queue.GetPollers(), alive, known, time.Now()), nil
}

// countWorkers counts the workers of a deployment. The server knows of a poll when it
// began, which may be a minute ago, and of a worker's state from its heartbeats: the last
// one says that the worker is shutting down. One that has polled, and sends no heartbeats
// although the server takes them, may have stopped; or the server has restarted, and
// waits for the next heartbeat. A worker that was killed counts until its last poll is over.
func countWorkers(deployment string, pollers []*taskqueuepb.PollerInfo, alive []*workerpb.WorkerListInfo, known bool, now time.Time) versionWorkers {
	w := versionWorkers{map[string]int{}, map[string]int{}, map[string]int{}}
	type worker struct{ buildID, identity string }
	running := map[worker]bool{} // false if it is shutting down
	for _, report := range alive {
		version := report.GetDeploymentVersion()
		if version.GetDeploymentName() != deployment {
			continue
		}
		key := worker{version.GetBuildId(), report.GetWorkerIdentity()}
		running[key] = running[key] || report.GetStatus() == enumspb.WORKER_STATUS_RUNNING
		if running[key] {
			w.reporting[key.buildID]++
		}
	}
	for _, poller := range pollers {
		version := poller.GetDeploymentOptions()
		if version.GetDeploymentName() != deployment || now.Sub(poller.GetLastAccessTime().AsTime()) >= pollerPatience {
			continue
		}
		switch runs, reported := running[worker{version.GetBuildId(), poller.GetIdentity()}]; {
		case runs || !known:
			w.polling[version.GetBuildId()]++
		case !reported:
			w.unsure[version.GetBuildId()]++
		}
	}
	return w
}
