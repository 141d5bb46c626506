package coffee

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/mock"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/mocks"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// TestNoWorker: an order waits for a worker if no worker has taken its task, or polled
// since the task was due. A killed worker stays in the list of pollers for minutes, and
// a task may be reserved for the worker that has the order in its cache.
func TestNoWorker(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(time.Now().Add(-d)) }
	task := func(since time.Duration) func(*workflowservice.DescribeWorkflowExecutionResponse) {
		return func(described *workflowservice.DescribeWorkflowExecutionResponse) {
			described.PendingWorkflowTask = &workflowpb.PendingWorkflowTaskInfo{State: enumspb.PENDING_WORKFLOW_TASK_STATE_SCHEDULED, ScheduledTime: ago(since)}
		}
	}
	// accepted is a task of an order that a worker has accepted already.
	accepted := func(since time.Duration) func(*workflowservice.DescribeWorkflowExecutionResponse) {
		return func(described *workflowservice.DescribeWorkflowExecutionResponse) {
			task(since)(described)
			described.WorkflowExecutionInfo.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{
				"order": payloads(t, orderMemo{Drink: "latte", Size: "M", AmountCents: 525}).GetPayloads()[0],
			}}
		}
	}
	step := func(state enumspb.PendingActivityState, scheduled, next time.Duration) func(*workflowservice.DescribeWorkflowExecutionResponse) {
		return func(described *workflowservice.DescribeWorkflowExecutionResponse) {
			described.PendingActivities = []*workflowpb.PendingActivityInfo{{State: state, ScheduledTime: ago(scheduled), NextAttemptScheduleTime: ago(next)}}
		}
	}
	const waits, begun = enumspb.PENDING_ACTIVITY_STATE_SCHEDULED, enumspb.PENDING_ACTIVITY_STATE_STARTED
	const never = -1
	for name, test := range map[string]struct {
		pending            func(*workflowservice.DescribeWorkflowExecutionResponse)
		workflow, activity time.Duration // how long ago a worker polled
		want               bool
	}{
		"no task":                         {func(*workflowservice.DescribeWorkflowExecutionResponse) {}, never, never, false},
		"nobody has ever polled":          {task(10 * time.Second), never, never, true},
		"a killed worker":                 {task(10 * time.Second), 11 * time.Second, 11 * time.Second, true},
		"polled for workflow tasks since": {task(10 * time.Second), 9 * time.Second, never, false},
		"polled for activities since":     {task(10 * time.Second), never, 9 * time.Second, false},
		"a new order":                     {task(time.Second), never, never, true},
		"perhaps reserved for a worker":   {accepted(6*time.Second - 1), never, never, false},
		"no longer reserved":              {accepted(6 * time.Second), never, never, true},
		"a step that nobody takes":        {step(waits, 10*time.Second, 10*time.Second), never, never, true},
		"a step, polled since":            {step(waits, 10*time.Second, 10*time.Second), never, 9 * time.Second, false},
		"a retry that is due":             {step(waits, 20*time.Second, 10*time.Second), never, 11 * time.Second, true},
		"a retry that is not due yet":     {step(waits, 20*time.Second, -time.Second), never, never, false},
		"a step under way":                {step(begun, 10*time.Second, 10*time.Second), never, never, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // time stands still
				response := described("run", enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
				test.pending(response)
				server := &mocks.Client{}
				server.On("DescribeWorkflowExecution", mock.Anything, "order-123", "").Return(response, nil)
				server.On("WorkflowService").Return(&fakeService{taskQueue: func(request *workflowservice.DescribeTaskQueueRequest) *workflowservice.DescribeTaskQueueResponse {
					polled := map[enumspb.TaskQueueType]time.Duration{enumspb.TASK_QUEUE_TYPE_WORKFLOW: test.workflow, enumspb.TASK_QUEUE_TYPE_ACTIVITY: test.activity}[request.GetTaskQueueType()]
					if polled == never || request.GetTaskQueue().GetName() != "coffee-orders" {
						return nil
					}
					return &workflowservice.DescribeTaskQueueResponse{Pollers: []*taskqueuepb.PollerInfo{{LastAccessTime: ago(polled)}}}
				}})
				if got, err := NewClient(server, "default").NoWorker(t.Context(), "123"); err != nil || got != test.want {
					t.Errorf("got %v, %v; want %v", got, err, test.want)
				}
			})
		})
	}
}
