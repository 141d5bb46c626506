package desk

import (
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	commonpb "go.temporal.io/api/common/v1"
	deploymentpb "go.temporal.io/api/deployment/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workerpb "go.temporal.io/api/worker/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/mocks"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/historytest"
)

// scene is an order that waits, and the workers that there are, at a time.
type scene struct {
	t         *testing.T
	now       time.Time
	described *workflowservice.DescribeWorkflowExecutionResponse
	crew      Workers
}

func (s *scene) ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(s.now.Add(-d)) }

const (
	workflows  = enumspb.TASK_QUEUE_TYPE_WORKFLOW
	activities = enumspb.TASK_QUEUE_TYPE_ACTIVITY
)

// newScene returns an order that was placed ten seconds ago, and no workers.
func newScene(t *testing.T) *scene {
	s := &scene{t: t, now: time.Now(), described: historytest.Described("run", enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)}
	s.described.ExecutionConfig = &workflowpb.WorkflowExecutionConfig{TaskQueue: &taskqueuepb.TaskQueue{Name: coffee.TaskQueue}}
	s.described.WorkflowExecutionInfo.StartTime = s.ago(10 * time.Second)
	s.crew.polls = map[enumspb.TaskQueueType]*workflowservice.DescribeTaskQueueResponse{workflows: {}, activities: {}}
	return s
}

// task lets the order wait with a workflow task.
func (s *scene) task(since time.Duration) {
	s.described.PendingWorkflowTask = &workflowpb.PendingWorkflowTaskInfo{State: enumspb.PENDING_WORKFLOW_TASK_STATE_SCHEDULED, ScheduledTime: s.ago(since)}
}

// accepted is a task of an order that a worker has accepted already.
func (s *scene) accepted(since time.Duration) {
	s.task(since)
	s.described.WorkflowExecutionInfo.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{
		"order": historytest.Payloads(s.t, coffee.OrderMemo{Drink: "latte", Size: "M", AmountCents: 525}).GetPayloads()[0],
	}}
}

// step lets the order be at a step.
func (s *scene) step(state enumspb.PendingActivityState, scheduled, next time.Duration) *workflowpb.PendingActivityInfo {
	activity := &workflowpb.PendingActivityInfo{ActivityType: &commonpb.ActivityType{Name: coffee.ActivityBrewCoffee}, Attempt: 4, State: state, ScheduledTime: s.ago(scheduled), NextAttemptScheduleTime: s.ago(next)}
	s.described.PendingActivities = []*workflowpb.PendingActivityInfo{activity}
	return activity
}

// polled adds a poller; an empty build id is that of a worker without a version.
func (s *scene) polled(identity, buildID string, kind enumspb.TaskQueueType, ago time.Duration) {
	poller := &taskqueuepb.PollerInfo{Identity: identity, LastAccessTime: s.ago(ago)}
	if buildID != "" {
		poller.DeploymentOptions = &deploymentpb.WorkerDeploymentOptions{DeploymentName: "coffee", BuildId: buildID, WorkerVersioningMode: enumspb.WORKER_VERSIONING_MODE_VERSIONED}
	}
	s.crew.polls[kind].Pollers = append(s.crew.polls[kind].Pollers, poller)
}

// beat adds a worker whose last heartbeat is that old.
func (s *scene) beat(identity, buildID string, ago time.Duration) *workerpb.WorkerHeartbeat {
	w := &workerpb.WorkerHeartbeat{WorkerIdentity: identity, TaskQueue: coffee.TaskQueue, DeploymentVersion: version(buildID), Status: enumspb.WORKER_STATUS_RUNNING,
		HeartbeatTime: s.ago(ago), ElapsedSinceLastHeartbeat: durationpb.New(5 * time.Second),
		ActivityTaskSlotsInfo: &workerpb.WorkerSlotsInfo{CurrentAvailableSlots: 2},
		WorkflowTaskSlotsInfo: &workerpb.WorkerSlotsInfo{CurrentAvailableSlots: 100}}
	s.crew.beats = append(s.crew.beats, w)
	return w
}

func version(buildID string) *deploymentpb.WorkerDeploymentVersion {
	if buildID == "" {
		return nil
	}
	return &deploymentpb.WorkerDeploymentVersion{DeploymentName: "coffee", BuildId: buildID}
}

// current makes versions current and ramping; they may be empty.
func (s *scene) current(buildID, ramping string, percent float32) {
	for _, polls := range s.crew.polls {
		polls.VersioningInfo = &taskqueuepb.TaskQueueVersioningInfo{CurrentDeploymentVersion: version(buildID), RampingDeploymentVersion: version(ramping), RampingVersionPercentage: percent}
	}
}

const (
	saysNoWorker = "no worker is polling the task queue coffee-orders; start one with: coffee worker"
	saysNoV1     = "no worker of version v1 is polling the task queue coffee-orders; start one with: coffee worker --build-id v1"
	saysBusy     = "all workers are busy; it goes on when one has room"
	saysLeaving  = "the workers there have been told to stop; start one with: coffee worker"
	saysBack     = "the server is back; its workers reconnect within seconds"
)

// TestDiagnose: what is said of an order that waits is true, or nothing is said.
func TestDiagnose(t *testing.T) {
	t.Parallel()
	const waits, begun = enumspb.PENDING_ACTIVITY_STATE_SCHEDULED, enumspb.PENDING_ACTIVITY_STATE_STARTED
	const s = time.Second
	manual := &workflowpb.PendingActivityInfo_PauseInfo{PausedBy: &workflowpb.PendingActivityInfo_PauseInfo_Manual_{Manual: &workflowpb.PendingActivityInfo_PauseInfo_Manual{Identity: "ann", Reason: "descaling"}}}
	for name, test := range map[string]struct {
		set  func(*scene)
		want string
	}{
		"no task":                 {func(x *scene) {}, ""},
		"no worker ever":          {func(x *scene) { x.task(10 * s) }, saysNoWorker},
		"no worker for a new one": {func(x *scene) { x.task(s) }, saysNoWorker},
		"no worker for a step":    {func(x *scene) { x.step(waits, 10*s, 10*s) }, saysNoWorker},
		"a retry that is due":     {func(x *scene) { x.step(waits, 20*s, 10*s) }, saysNoWorker},
		"a retry that is not due": {func(x *scene) { x.step(waits, 20*s, -s) }, ""},
		"a step under way":        {func(x *scene) { x.step(begun, 10*s, 10*s) }, ""},
		"perhaps reserved":        {func(x *scene) { x.accepted(6*s - 1) }, ""},
		"no longer reserved":      {func(x *scene) { x.accepted(6 * s) }, saysNoWorker},
		"an order that is over":   {func(x *scene) { x.task(s); x.described.WorkflowExecutionInfo.Status = 2 }, ""},

		"died":                          {func(x *scene) { x.task(10 * s); x.beat("a", "", 16*s); x.polled("a", "", workflows, 20*s) }, saysNoWorker},
		"perhaps died":                  {func(x *scene) { x.task(10 * s); x.beat("a", "", 14*s); x.polled("a", "", workflows, 20*s) }, ""},
		"died, has told of itself once": {func(x *scene) { x.task(10 * s); x.beat("a", "", 71*s).ElapsedSinceLastHeartbeat = nil }, saysNoWorker},
		"may beat once a minute":        {func(x *scene) { x.task(10 * s); x.beat("a", "", 69*s).ElapsedSinceLastHeartbeat = nil }, ""},
		"an SDK without heartbeats":     {func(x *scene) { x.task(10 * s); x.polled("a", "", workflows, 60*s) }, ""},
		"another SDK's, died":           {func(x *scene) { x.task(10 * s); x.polled("a", "", workflows, 71*s) }, saysNoWorker},
		"a clock that is slow":          {func(x *scene) { x.task(10 * s); x.beat("a", "", 3600*s); x.polled("a", "", activities, 60*s) }, ""},
		"heartbeats were lost":          {func(x *scene) { x.task(10 * s); x.beat("a", "", 16*s); x.polled("a", "", workflows, 9*s) }, ""},

		"busy": {func(x *scene) {
			x.step(waits, 10*s, 10*s)
			full(x.beat("a", "", s))
			x.polled("a", "", activities, 12*s)
		}, saysBusy},
		"busy, and has polled since": {func(x *scene) { x.step(waits, 10*s, 10*s); full(x.beat("a", "", s)); x.polled("a", "", activities, s) }, saysBusy},
		"busy, but for another one":  {func(x *scene) { x.step(waits, 10*s, 10*s); full(x.beat("a", "", s)); x.beat("b", "", s) }, ""},
		"too busy for steps only":    {func(x *scene) { x.task(10 * s); full(x.beat("a", "", s)) }, ""},
		"was busy, and died": {func(x *scene) {
			x.step(waits, 10*s, 10*s)
			full(x.beat("a", "", 16*s))
			x.polled("a", "", activities, 20*s)
		}, saysNoWorker},

		"draining": {func(x *scene) {
			x.task(10 * s)
			x.beat("a", "", s).Status = enumspb.WORKER_STATUS_SHUTTING_DOWN
			x.polled("a", "", workflows, 20*s)
		}, saysLeaving},
		"drained": {func(x *scene) {
			x.task(10 * s)
			x.beat("a", "", 16*s).Status = enumspb.WORKER_STATUS_SHUTTING_DOWN
			x.polled("a", "", workflows, 20*s)
		}, saysNoWorker},
		"draining, one left": {func(x *scene) {
			x.task(10 * s)
			x.beat("a", "", s).Status = enumspb.WORKER_STATUS_SHUTTING_DOWN
			x.beat("b", "", s)
		}, ""},

		"another version is current": {func(x *scene) {
			x.task(10 * s)
			x.current("v1", "", 0)
			x.beat("a", "v2", s)
			x.polled("b", "", workflows, s)
		}, saysNoV1},
		"no worker of the current version": {func(x *scene) { x.task(10 * s); x.current("v1", "", 0) }, saysNoV1},
		"the current version":              {func(x *scene) { x.task(10 * s); x.current("v1", "", 0); x.beat("a", "v1", s) }, ""},
		"the current version, by polls":    {func(x *scene) { x.task(10 * s); x.current("v1", "", 0); x.polled("a", "v1", workflows, 20*s) }, ""},
		"pinned, and gone":                 {func(x *scene) { x.task(10 * s); x.current("v2", "", 0); x.beat("a", "v2", s); x.pinned("v1") }, saysNoV1},
		"pinned, and there":                {func(x *scene) { x.task(10 * s); x.current("v2", "", 0); x.beat("a", "v1", s); x.pinned("v1") }, ""},
		"moved to a version that is gone":  {func(x *scene) { x.task(10 * s); x.beat("a", "", s); x.moved("v1") }, saysNoV1},
		"not pinned": {func(x *scene) {
			x.task(10 * s)
			x.current("v2", "", 0)
			x.beat("a", "v2", s)
			x.described.WorkflowExecutionInfo.VersioningInfo = &workflowpb.WorkflowExecutionVersioningInfo{Behavior: enumspb.VERSIONING_BEHAVIOR_AUTO_UPGRADE, DeploymentVersion: version("v1")}
		}, ""},
		"no version is current":             {func(x *scene) { x.task(10 * s); x.beat("a", "v1", s) }, "no worker without a version is polling the task queue coffee-orders, and no version is current; make one current with: coffee rollout"},
		"nobody takes the ramp, perhaps":    {func(x *scene) { x.task(10 * s); x.current("v2", "v1", 50); x.beat("a", "v2", s) }, ""},
		"only the ramp has workers":         {func(x *scene) { x.task(10 * s); x.current("v1", "v2", 50); x.beat("a", "v2", s) }, ""},
		"neither the ramp nor the rest has": {func(x *scene) { x.task(10 * s); x.current("v1", "v2", 50); x.beat("a", "v3", s) }, saysNoV1},
		"the whole ramp":                    {func(x *scene) { x.task(10 * s); x.current("v1", "v2", 100); x.beat("a", "v2", s) }, ""},
		"an older server's words": {func(x *scene) {
			x.task(10 * s)
			x.current("", "", 0)
			//lint:ignore SA1019 older servers have nothing else
			x.crew.polls[workflows].VersioningInfo.CurrentVersion = "coffee.v1"
		}, ""},

		"wrong keyset, so it is given back": {func(x *scene) { x.task(10 * s); x.described.PendingWorkflowTask.Attempt = 7; x.beat("a", "", s) }, ""},
		"paused step":                       {func(x *scene) { x.step(enumspb.PENDING_ACTIVITY_STATE_PAUSED, 10*s, 10*s).PauseInfo = manual }, "paused by ann: descaling"},
		"step that will be paused":          {func(x *scene) { x.step(enumspb.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED, 10*s, 10*s).PauseInfo = manual }, "paused by ann: descaling"},
		"paused by nobody known":            {func(x *scene) { x.step(enumspb.PENDING_ACTIVITY_STATE_PAUSED, 10*s, 10*s) }, "paused by somebody"},
		"paused workflow": {func(x *scene) {
			x.task(10 * s)
			x.described.WorkflowExecutionInfo.Status = enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED
			x.described.WorkflowExtendedInfo = &workflowpb.WorkflowExecutionExtendedInfo{PauseInfo: &workflowpb.WorkflowExecutionPauseInfo{Identity: "ann"}}
		}, "paused by ann"},

		"server just back": {func(x *scene) { x.task(10 * s); x.crew.serverStarted = x.now.Add(-5 * s) }, saysBack},
		"server back for long": {func(x *scene) {
			x.task(30 * s)
			x.described.WorkflowExecutionInfo.StartTime = x.ago(60 * s)
			x.crew.serverStarted = x.now.Add(-21 * s)
		}, saysNoWorker},
		"placed after the server's start": {func(x *scene) { x.task(10 * s); x.crew.serverStarted = x.now.Add(-11 * s) }, saysNoWorker},

		"wrong queue": {func(x *scene) { x.task(10 * s); x.described.ExecutionConfig.TaskQueue.Name = "tea" }, "no worker is polling the task queue tea; those of coffee poll coffee-orders"},
	} {
		x := newScene(t)
		test.set(x)
		if got := diagnose(x.described, x.crew, x.now).String(); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// full lets a worker do as many steps at once as it may.
func full(w *workerpb.WorkerHeartbeat) *workerpb.WorkerHeartbeat {
	w.ActivityTaskSlotsInfo = &workerpb.WorkerSlotsInfo{CurrentUsedSlots: 2}
	return w
}

func (s *scene) pinned(buildID string) {
	s.described.WorkflowExecutionInfo.VersioningInfo = &workflowpb.WorkflowExecutionVersioningInfo{Behavior: enumspb.VERSIONING_BEHAVIOR_PINNED, DeploymentVersion: version(buildID)}
}

// moved lets an operator have moved the order to a version.
func (s *scene) moved(buildID string) {
	s.described.WorkflowExecutionInfo.VersioningInfo = &workflowpb.WorkflowExecutionVersioningInfo{VersioningOverride: &workflowpb.VersioningOverride{
		Override: &workflowpb.VersioningOverride_Pinned{Pinned: &workflowpb.VersioningOverride_PinnedOverride{Version: version(buildID)}},
	}}
}

// TestRunningWorkers: workers of a version are counted that poll or send heartbeats, and
// are not about to stop.
func TestRunningWorkers(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	x.beat("a", "v1", time.Second)
	x.polled("a", "v1", workflows, 30*time.Second)
	x.polled("b", "v1", workflows, 30*time.Second) // an SDK without heartbeats
	x.beat("c", "v1", time.Second).Status = enumspb.WORKER_STATUS_SHUTTING_DOWN
	x.polled("c", "v1", workflows, 30*time.Second)
	x.beat("d", "v1", 16*time.Second) // was killed
	x.polled("d", "v1", workflows, 30*time.Second)
	x.beat("e", "v2", time.Second)
	if got := x.crew.Running("coffee", x.now)["v1"]; got != 2 {
		t.Errorf("%d workers are running", got)
	}
}

// TestPausedAttempts: a step that is paused before an attempt has not made it.
func TestPausedAttempts(t *testing.T) {
	t.Parallel()
	for state, want := range map[enumspb.PendingActivityState]int{
		enumspb.PENDING_ACTIVITY_STATE_PAUSED: 3, enumspb.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED: 4,
		enumspb.PENDING_ACTIVITY_STATE_SCHEDULED: 3, enumspb.PENDING_ACTIVITY_STATE_STARTED: 4,
	} {
		x := newScene(t)
		x.step(state, time.Second, time.Second)
		view := viewOf(x.described.GetWorkflowExecutionInfo())
		if view.addPending(x.described); view.BrewAttempts != want {
			t.Errorf("%v: %d attempts", state, view.BrewAttempts)
		}
	}
}

// TestWaiting: the workers of the task queue of the order are asked for, in its namespace,
// page by page. A server that does not list workers is no error, and of workers that were
// not read nothing is said.
func TestWaiting(t *testing.T) {
	t.Parallel()
	const saysNone = "no worker is polling the task queue coffee-orders of the namespace bar; start one with: coffee worker"
	list := func(queue string, next string) *workflowservice.ListWorkersResponse {
		worker := full(&workerpb.WorkerHeartbeat{TaskQueue: queue, HeartbeatTime: timestamppb.Now(), WorkflowTaskSlotsInfo: &workerpb.WorkerSlotsInfo{CurrentUsedSlots: 1}})
		return &workflowservice.ListWorkersResponse{WorkersInfo: []*workerpb.WorkerInfo{{WorkerHeartbeat: worker}}, NextPageToken: []byte(next)}
	}
	for name, test := range map[string]struct {
		page func(number int) (*workflowservice.ListWorkersResponse, error)
		want string
		asks int
	}{
		"no list": {func(int) (*workflowservice.ListWorkersResponse, error) {
			return nil, serviceerror.NewUnimplemented("too old")
		}, saysNone, 1},
		"not allowed": {func(int) (*workflowservice.ListWorkersResponse, error) {
			return nil, serviceerror.NewPermissionDenied("", "")
		}, saysNone, 1},
		"overloaded":    {func(int) (*workflowservice.ListWorkersResponse, error) { return nil, serviceerror.NewUnavailable("") }, "", 1},
		"another queue": {func(int) (*workflowservice.ListWorkersResponse, error) { return list("tea", ""), nil }, saysNone, 1},
		"a full worker on the third page": {func(number int) (*workflowservice.ListWorkersResponse, error) {
			if number < 3 {
				return list("tea", "next"), nil
			}
			return list(coffee.TaskQueue, ""), nil
		}, saysBusy, 3},
		"more pages than are read": {func(int) (*workflowservice.ListWorkersResponse, error) { return list("tea", "next"), nil }, "", 10},
	} {
		x, asks := newScene(t), 0
		x.task(10 * time.Second)
		server := &mocks.Client{}
		server.On("DescribeWorkflowExecution", mock.Anything, "order-123", "").Return(x.described, nil)
		server.On("WorkflowService").Return(&fakeQueues{
			workers: func(request *workflowservice.ListWorkersRequest) (*workflowservice.ListWorkersResponse, error) {
				if asks++; request.GetNamespace() != "bar" || string(request.GetNextPageToken()) != "next" && asks > 1 {
					t.Errorf("%s: asked for %v", name, request)
				}
				return test.page(asks)
			},
			taskQueue: func(request *workflowservice.DescribeTaskQueueRequest) *workflowservice.DescribeTaskQueueResponse {
				if request.GetTaskQueue().GetName() != coffee.TaskQueue || request.GetNamespace() != "bar" {
					t.Errorf("%s: asked for %v", name, request)
				}
				return &workflowservice.DescribeTaskQueueResponse{}
			}})
		if got, err := NewClient(server, "bar").Waiting(t.Context(), "123"); err != nil || got.String() != test.want || asks != test.asks {
			t.Errorf("%s: %q, %v, after %d pages", name, got, err, asks)
		}
	}
}
