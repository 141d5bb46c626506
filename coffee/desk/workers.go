package desk

import (
	"context"
	"errors"
	"time"

	deploymentpb "go.temporal.io/api/deployment/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workerpb "go.temporal.io/api/worker/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// Workers is what a server knows about the workers of a task queue, and where it sends the
// tasks of that queue.
//
// It has two sources, and neither is enough. A poller's last access is when its poll
// began, up to a minute ago; a worker that has its hands full does not poll; one that was
// killed stays in the list for minutes. The heartbeats of workers say all that, but other
// SDKs and older servers have none.
type Workers struct {
	polls map[enumspb.TaskQueueType]*workflowservice.DescribeTaskQueueResponse
	beats []*workerpb.WorkerHeartbeat
	// Partial is true if there may be workers that are not among these.
	Partial bool
	// serverStarted is when the server's own workers started; zero if it does not tell.
	serverStarted time.Time
}

const (
	// pollerPatience is a little longer than a poll may take.
	pollerPatience = 70 * time.Second
	// beatPatience is how late a worker's heartbeat may be. Clocks may differ by less.
	beatPatience = 10 * time.Second
	// longestBeat is the longest time between two heartbeats, and the SDK's default.
	longestBeat = time.Minute
)

// HeartbeatInterval is how often a worker should tell the server that it is alive, for a
// lost one to be noticed soon. See client.Options.WorkerHeartbeatInterval.
const HeartbeatInterval = 5 * time.Second

// A list of workers is read up to these bounds.
const (
	workersPage  = 1000
	workersPages = 10
)

// systemQueue is the task queue of the server's own workers in each namespace
// (primitives.PerNSWorkerTaskQueue in go.temporal.io/server/common).
const systemQueue = "temporal-sys-per-ns-tq"

// Workers asks the server for the workers of a task queue.
func (c *Client) Workers(ctx context.Context, queue string) (Workers, error) {
	found := Workers{polls: map[enumspb.TaskQueueType]*workflowservice.DescribeTaskQueueResponse{}, Partial: true}
	for _, kind := range []enumspb.TaskQueueType{enumspb.TASK_QUEUE_TYPE_WORKFLOW, enumspb.TASK_QUEUE_TYPE_ACTIVITY} {
		polls, err := c.Temporal().WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
			Namespace: c.Namespace(), TaskQueue: &taskqueuepb.TaskQueue{Name: queue}, TaskQueueType: kind,
		})
		if err != nil {
			return Workers{}, err
		}
		found.polls[kind] = polls
	}
	request := &workflowservice.ListWorkersRequest{Namespace: c.Namespace(), IncludeSystemWorkers: true, PageSize: workersPage}
	for range workersPages {
		listed, err := c.Temporal().WorkflowService().ListWorkers(ctx, request)
		var missing *serviceerror.Unimplemented
		var denied *serviceerror.PermissionDenied
		if errors.As(err, &missing) || errors.As(err, &denied) {
			found.Partial = false // an older server has no such list, and one of a cloud may not show it
		}
		if err != nil {
			return found, ctx.Err()
		}
		//lint:ignore SA1019 its successor has no heartbeats: they would take a request for each worker
		for _, w := range listed.GetWorkersInfo() {
			beat := w.GetWorkerHeartbeat()
			started := AsTime(beat.GetStartTime())
			switch {
			case beat.GetTaskQueue() == queue:
				found.beats = append(found.beats, beat)
			case beat.GetTaskQueue() == systemQueue && (found.serverStarted.IsZero() || started.Before(found.serverStarted)):
				found.serverStarted = started
			}
		}
		if request.NextPageToken = listed.GetNextPageToken(); len(request.NextPageToken) == 0 {
			found.Partial = false
			break
		}
	}
	return found, nil
}

// presence is what workers are doing, from the least hope for a task to the most.
type presence int

const (
	nobody  presence = iota
	leaving          // they shut down, and take no more tasks
	busy             // they do as much at once as they may
	present          // at least one takes tasks; or nobody can say
)

// member is a worker, as far as it is known.
type member struct {
	version *deploymentpb.WorkerDeploymentVersion // nil without one
	state   presence
}

// members returns the workers that are there for a task of a kind that has been due since
// a time.
func (w Workers) members(kind enumspb.TaskQueueType, since, now time.Time) (members []member) {
	known, silent := map[string]bool{}, map[string]time.Time{} // by identity
	for _, beat := range w.beats {
		state, until := beating(beat, kind, now)
		if state == nobody {
			silent[beat.GetWorkerIdentity()] = until
			continue
		}
		known[beat.GetWorkerIdentity()] = true
		members = append(members, member{beat.GetDeploymentVersion(), state})
	}
	for k, polls := range w.polls {
		for _, poller := range polls.GetPollers() {
			identity, polled := poller.GetIdentity(), AsTime(poller.GetLastAccessTime())
			until, beat := silent[identity]
			// Where heartbeats ended before the last poll, the worker's clock is wrong.
			believed := !beat || polled.After(until) || k == kind && polled.After(since)
			if believed && !known[identity] && now.Sub(polled) < pollerPatience {
				known[identity] = true
				members = append(members, member{versionOf(poller), present})
			}
		}
	}
	return members
}

// Running counts the workers of a deployment by the build ids of their versions, but for
// those that shut down.
func (w Workers) Running(deployment string, now time.Time) map[string]int {
	counts := map[string]int{}
	for _, m := range w.members(enumspb.TASK_QUEUE_TYPE_WORKFLOW, now, now) {
		if m.state > leaving && m.version.GetDeploymentName() == deployment {
			counts[m.version.GetBuildId()]++
		}
	}
	return counts
}

// beating returns what a worker is doing by its last heartbeat, and until when that counts.
func beating(w *workerpb.WorkerHeartbeat, kind enumspb.TaskQueueType, now time.Time) (presence, time.Time) {
	interval := longestBeat
	if elapsed := w.GetElapsedSinceLastHeartbeat(); elapsed != nil {
		interval = min(interval, elapsed.AsDuration())
	}
	until := AsTime(w.GetHeartbeatTime()).Add(interval + beatPatience)
	slots := w.GetWorkflowTaskSlotsInfo()
	if kind == enumspb.TASK_QUEUE_TYPE_ACTIVITY {
		slots = w.GetActivityTaskSlotsInfo()
	}
	switch {
	case now.After(until) || w.GetStatus() == enumspb.WORKER_STATUS_SHUTDOWN:
		return nobody, until
	case w.GetStatus() == enumspb.WORKER_STATUS_SHUTTING_DOWN:
		return leaving, until
	case slots.GetCurrentAvailableSlots() == 0 && slots.GetCurrentUsedSlots() > 0:
		return busy, until
	}
	return present, until
}

// versionOf returns the version of a poller; nil if it has none.
func versionOf(poller *taskqueuepb.PollerInfo) *deploymentpb.WorkerDeploymentVersion {
	options := poller.GetDeploymentOptions()
	if options.GetWorkerVersioningMode() != enumspb.WORKER_VERSIONING_MODE_VERSIONED {
		return nil
	}
	return &deploymentpb.WorkerDeploymentVersion{DeploymentName: options.GetDeploymentName(), BuildId: options.GetBuildId()}
}

// targets returns the versions to which a task of a workflow may go; a nil one stands for
// workers without a version. It returns nil if that is unknown.
func (w Workers) targets(described *workflowservice.DescribeWorkflowExecutionResponse, kind enumspb.TaskQueueType) []*deploymentpb.WorkerDeploymentVersion {
	info := described.GetWorkflowExecutionInfo().GetVersioningInfo()
	override := info.GetVersioningOverride()
	if pinned := override.GetPinned().GetVersion(); pinned != nil {
		return []*deploymentpb.WorkerDeploymentVersion{pinned}
	}
	if override == nil && info.GetBehavior() == enumspb.VERSIONING_BEHAVIOR_PINNED && info.GetDeploymentVersion() != nil {
		return []*deploymentpb.WorkerDeploymentVersion{info.GetDeploymentVersion()}
	}
	routing := w.polls[kind].GetVersioningInfo()
	//lint:ignore SA1019 older servers have nothing else
	if old := routing.GetCurrentVersion(); routing.GetCurrentDeploymentVersion() == nil && old != "" && old != "__unversioned__" {
		return nil // an older server, which says it in another way
	}
	current, ramping := routing.GetCurrentDeploymentVersion(), routing.GetRampingDeploymentVersion()
	switch percent := routing.GetRampingVersionPercentage(); {
	case percent >= 100:
		return []*deploymentpb.WorkerDeploymentVersion{ramping}
	case percent > 0:
		return []*deploymentpb.WorkerDeploymentVersion{current, ramping}
	}
	return []*deploymentpb.WorkerDeploymentVersion{current}
}
