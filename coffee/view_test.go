package coffee

import (
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// TestPendingBrew: the server lists a brew that was cancelled as pending even when
// its order is over. It once made the stage of a cancelled order BREWING.
func TestPendingBrew(t *testing.T) {
	t.Parallel()
	next := time.Now().Add(time.Second).UTC()
	pending := &workflowpb.PendingActivityInfo{
		ActivityType:            &commonpb.ActivityType{Name: ActivityBrewCoffee},
		State:                   enumspb.PENDING_ACTIVITY_STATE_SCHEDULED,
		Attempt:                 2,
		LastFailure:             &failurepb.Failure{Message: "brew machine jammed"},
		NextAttemptScheduleTime: timestamppb.New(next),
	}
	for status, want := range map[OrderStatus]OrderView{
		StatusRunning: {
			Status: StatusRunning, OrderState: OrderState{Stage: StageBrewing}, BrewAttempts: 1, LastFailure: "brew machine jammed", NextAttemptAt: next,
		},
		StatusCancelled: {Status: StatusCancelled, OrderState: OrderState{Stage: StageDone}, BrewAttempts: 1},
	} {
		view := OrderView{Status: status, OrderState: OrderState{Stage: StageDone}}
		view.addPending(&workflowservice.DescribeWorkflowExecutionResponse{PendingActivities: []*workflowpb.PendingActivityInfo{pending}})
		if view != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", status, view, want)
		}
	}
}
