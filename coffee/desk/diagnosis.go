package desk

import (
	"cmp"
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/text"
)

// Diagnosis is why an order does not go on. The zero value means that nothing is known to
// be in its way.
//
// An order can also be stuck by itself, because the code of its worker does not fit
// its history, or because its keyset has not its keys: see
// [OrderView.WorkflowTaskFailure].
type Diagnosis string

// The reasons why orders do not go on.
const (
	// DiagnosisServerAway: the server does not answer.
	DiagnosisServerAway Diagnosis = "server_away"
	// DiagnosisReconnecting: the server is back, and its workers are not yet.
	DiagnosisReconnecting Diagnosis = "reconnecting"
	// DiagnosisNoWorker: the order waits, and no worker is running.
	DiagnosisNoWorker Diagnosis = "no_worker"
	// DiagnosisNoVersion: no worker is running of the version that the order goes to.
	DiagnosisNoVersion Diagnosis = "no_version"
	// DiagnosisLeaving: all workers that could take the order are shutting down.
	DiagnosisLeaving Diagnosis = "leaving"
	// DiagnosisBusy: all workers that could take it do as much at once as they may.
	DiagnosisBusy Diagnosis = "busy"
	// DiagnosisPaused: the order, or the step that it is at, has been paused.
	DiagnosisPaused Diagnosis = "paused"
)

// Waiting is why an order does not go on, and where.
type Waiting struct {
	Diagnosis
	// Queue is the task queue that the order waits in, and Namespace the namespace.
	Queue, Namespace string
	// Deployment and BuildID are the version that no worker has, for [DiagnosisNoVersion].
	// They are empty if only workers with a version are there, and none is current.
	Deployment, BuildID string
	// Paused is who paused it and why; see [OrderView.Paused].
	Paused string
}

// Unmanned reports whether nobody is there to take the order.
func (w Waiting) Unmanned() bool {
	return w.Diagnosis == DiagnosisNoWorker || w.Diagnosis == DiagnosisNoVersion || w.Diagnosis == DiagnosisLeaving
}

// String says it in a sentence, with what can be done. It is empty if nothing is in the
// way.
func (w Waiting) String() string {
	where := " is polling the task queue " + text.Printable(text.Clip(w.Queue, text.MaxName))
	if w.Namespace != "" && w.Namespace != "default" {
		where += " of the namespace " + w.Namespace
	}
	start := "; start one with: coffee worker"
	if w.Queue != coffee.TaskQueue {
		start = "; those of coffee poll " + coffee.TaskQueue
	}
	switch w.Diagnosis {
	case DiagnosisServerAway:
		return "the server does not answer"
	case DiagnosisReconnecting:
		return "the server is back; its workers reconnect within seconds"
	case DiagnosisNoWorker:
		return "no worker" + where + start
	case DiagnosisNoVersion:
		if w.BuildID == "" {
			return "no worker without a version" + where + ", and no version is current; make one current with: coffee rollout"
		}
		flags := " --build-id " + text.Printable(w.BuildID)
		if w.Deployment != coffee.DefaultDeployment {
			flags += " --deployment " + text.Printable(w.Deployment)
		}
		return "no worker of version " + text.Printable(w.BuildID) + where + start + flags
	case DiagnosisLeaving:
		return "the workers there have been told to stop" + start
	case DiagnosisBusy:
		return "all workers are busy; it goes on when one has room"
	case DiagnosisPaused:
		return "paused " + w.Paused
	}
	return ""
}

// Waiting returns why the order does not go on. The zero value means that it does, or
// that the server cannot say. It takes up to four requests. It returns [coffee.ErrNotFound] if
// there is no such order.
func (c *Client) Waiting(ctx context.Context, orderID string) (Waiting, error) {
	described, err := c.Lookup(ctx, orderID, "")
	if err != nil {
		return Waiting{}, err
	}
	return c.waiting(ctx, described)
}

// waiting returns why the order that was described does not go on. It asks for the
// workers only if a task of the order waits for one.
func (c *Client) waiting(ctx context.Context, described *workflowservice.DescribeWorkflowExecutionResponse) (waits Waiting, err error) {
	var found Workers
	if task := waitingTask(described, time.Now()); !task.since.IsZero() {
		if found, err = c.Workers(ctx, task.queue); err != nil {
			return Waiting{}, err
		}
	}
	waits = diagnose(described, found, time.Now())
	waits.Namespace = c.Namespace()
	return waits, nil
}

// diagnose says why an order does not go on, by its description and by the workers of
// the task queue that it waits in.
func diagnose(described *workflowservice.DescribeWorkflowExecutionResponse, found Workers, now time.Time) Waiting {
	view := viewOf(described.GetWorkflowExecutionInfo())
	if view.addPending(described); view.Status != coffee.StatusRunning {
		return Waiting{}
	}
	task := waitingTask(described, now)
	waits := Waiting{Queue: task.queue, Paused: view.Paused}
	switch {
	case view.Paused != "":
		waits.Diagnosis = DiagnosisPaused
		return waits
	case task.since.IsZero(), found.Partial: // a worker that takes it may not have been read
		return Waiting{}
	}
	state, others := present, false
	members := found.members(task.kind, task.since, now)
	for i, version := range found.targets(described, task.kind) {
		best := nobody
		for _, m := range members {
			if proto.Equal(m.version, version) {
				best = max(best, m.state)
			} else {
				others = true
			}
		}
		if i > 0 && best != state {
			return Waiting{} // only the server knows to which of the versions it goes
		}
		if i == 0 {
			state, waits.Deployment, waits.BuildID = best, version.GetDeploymentName(), version.GetBuildId()
		}
	}
	switch {
	case state == present:
		return Waiting{}
	case state == busy:
		waits.Diagnosis = DiagnosisBusy
	case state == leaving:
		waits.Diagnosis = DiagnosisLeaving
	case found.serverStarted.After(view.StartedAt) && now.Sub(found.serverStarted) < reconnectPatience:
		waits.Diagnosis = DiagnosisReconnecting
	case waits.BuildID != "" || others:
		waits.Diagnosis = DiagnosisNoVersion
	default:
		waits.Diagnosis = DiagnosisNoWorker
	}
	return waits
}

// waiter is a task of an order that no worker has taken.
type waiter struct {
	since time.Time // when it was due; zero if there is no such task
	kind  enumspb.TaskQueueType
	queue string
}

// stickyPatience is longer than the SDK's default for how long the server offers a
// workflow task to the worker that had the last one before it offers it to all.
const stickyPatience = 6 * time.Second

// waitingTask returns the task that the order waits with.
func waitingTask(described *workflowservice.DescribeWorkflowExecutionResponse, now time.Time) waiter {
	queue := described.GetExecutionConfig().GetTaskQueue().GetName()
	if task := described.GetPendingWorkflowTask(); task.GetState() == enumspb.PENDING_WORKFLOW_TASK_STATE_SCHEDULED {
		at := AsTime(task.GetScheduledTime())
		accepted := viewOf(described.GetWorkflowExecutionInfo()).AmountCents != 0
		if accepted && now.Sub(at) < stickyPatience {
			return waiter{} // it may be reserved for the worker that has the order in its cache
		}
		return waiter{at, enumspb.TASK_QUEUE_TYPE_WORKFLOW, queue}
	}
	for _, activity := range described.GetPendingActivities() {
		if activity.GetState() != enumspb.PENDING_ACTIVITY_STATE_SCHEDULED {
			continue
		}
		at := AsTime(activity.GetScheduledTime())
		if next := AsTime(activity.GetNextAttemptScheduleTime()); next.After(at) {
			at = next
		}
		if at.Before(now) {
			return waiter{at, enumspb.TASK_QUEUE_TYPE_ACTIVITY, cmp.Or(activity.GetActivityOptions().GetTaskQueue().GetName(), queue)}
		}
	}
	return waiter{}
}

// reconnectPatience is how long workers have to come back after the server was away.
// Those of this program need a second (see package dial); those of others may pause for
// ten seconds between two attempts, and try twice in vain.
const reconnectPatience = 20 * time.Second

// Diagnoser says why orders do not go on. It needs the sequence of observations, because
// a server forgets its workers when it restarts. The zero value is ready to use.
type Diagnoser struct {
	away bool
	back time.Time // when the server was back; zero if it was not away
}

// Observe takes what was seen at a time, on whatever clock: whether the server gave no
// answer, and otherwise why an order waits, as [Client.Waiting] returns it. It returns
// why in the light of what was seen before.
func (d *Diagnoser) Observe(now time.Time, away bool, waits Waiting) Waiting {
	if away {
		d.away = true
		return Waiting{Diagnosis: DiagnosisServerAway}
	}
	if d.away {
		d.away, d.back = false, now
	}
	if waits.Unmanned() && !d.back.IsZero() && now.Sub(d.back) <= reconnectPatience {
		waits.Diagnosis = DiagnosisReconnecting
	}
	return waits
}

// oldestPatience is how old an order must be before it counts as waiting.
const oldestPatience = 2 * time.Second

// OldestWaiting returns the id of the oldest running order, the first one to ask
// [Client.Waiting] about, or "" if no order has been running for long.
func OldestWaiting(views []OrderView) (orderID string) {
	oldest := time.Now().Add(-oldestPatience)
	for _, v := range views {
		if v.Status == coffee.StatusRunning && v.Paused == "" && v.StartedAt.Before(oldest) {
			oldest, orderID = v.StartedAt, v.OrderID
		}
	}
	return orderID
}
