package desk

import (
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/coffee/coffee"
)

// TestPendingBrew: the server lists a brew that was cancelled as pending even when
// its order is over. It once made the stage of a cancelled order BREWING.
func TestPendingBrew(t *testing.T) {
	t.Parallel()
	next := time.Now().Add(time.Second).UTC()
	pending := &workflowpb.PendingActivityInfo{
		ActivityType:            &commonpb.ActivityType{Name: coffee.ActivityBrewCoffee},
		State:                   enumspb.PENDING_ACTIVITY_STATE_SCHEDULED,
		Attempt:                 2,
		LastFailure:             &failurepb.Failure{Message: "brew machine jammed"},
		NextAttemptScheduleTime: timestamppb.New(next),
	}
	for status, want := range map[coffee.OrderStatus]OrderView{
		coffee.StatusRunning: {
			Status: coffee.StatusRunning, OrderState: coffee.OrderState{Stage: coffee.StageBrewing}, BrewAttempts: 1, LastFailure: "brew machine jammed", NextAttemptAt: next,
		},
		coffee.StatusCancelled: {Status: coffee.StatusCancelled, OrderState: coffee.OrderState{Stage: coffee.StageDone}, BrewAttempts: 1},
	} {
		view := OrderView{Status: status, OrderState: coffee.OrderState{Stage: coffee.StageDone}}
		view.addPending(&workflowservice.DescribeWorkflowExecutionResponse{PendingActivities: []*workflowpb.PendingActivityInfo{pending}})
		if view != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", status, view, want)
		}
	}
}

// TestLostAttributeIsTold: an order that could not end because the server has lost the
// search attribute is told apart from one whose worker's code does not fit.
func TestLostAttributeIsTold(t *testing.T) {
	t.Parallel()
	failed := func(cause enumspb.WorkflowTaskFailedCause) *historypb.HistoryEvent {
		return &historypb.HistoryEvent{
			EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED,
			Attributes: &historypb.HistoryEvent_WorkflowTaskFailedEventAttributes{WorkflowTaskFailedEventAttributes: &historypb.WorkflowTaskFailedEventAttributes{
				Cause: cause, Failure: &failurepb.Failure{Message: "no mapping defined for search attribute CoffeeStatus"},
			}},
		}
	}
	completed := &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED}
	lost, other := failed(enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES), failed(enumspb.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR)
	for name, test := range map[string]struct {
		events []*historypb.HistoryEvent
		want   bool
	}{
		"lost":             {[]*historypb.HistoryEvent{lost}, true},
		"something else":   {[]*historypb.HistoryEvent{other}, false},
		"lost, then ended": {[]*historypb.HistoryEvent{lost, completed}, false},
		"another since":    {[]*historypb.HistoryEvent{lost, other}, false},
	} {
		view, activities := OrderView{}, Activities{}
		for _, event := range test.events {
			view.read(event, activities.Of(event))
		}
		if view.Unindexed != test.want {
			t.Errorf("%s: got %+v", name, view)
		}
	}
}
