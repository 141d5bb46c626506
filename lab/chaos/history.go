//go:build unix

package chaos

import (
	"context"
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
)

// history is what a run needs from an order's history, in addition to the auditor's report.
type history struct {
	// steps are the times of its start and of its completed workflow tasks.
	steps []time.Time
	// cancelled is true if a request to cancel it has arrived.
	cancelled bool
	// misfit is true if a worker's code did not fit the history.
	misfit bool
	// workers are the identities of the workers that worked on it.
	workers []string
	// brewed are the attempts that brewed the coffee, one unless the order was reset.
	brewed []int
	// givenUp are the steps that failed for good.
	givenUp []givenUp
	// failed is true if the order ended with the status FAILED.
	failed bool
}

// givenUp is a step that failed for good. Of its attempts the history has only the last,
// and the failure of the one before.
type givenUp struct {
	step     string // the name of the activity
	attempts int
	// worker is the identity of the last attempt's.
	worker string
	// scheduled is when the step began, and began and ended are those of the last attempt.
	scheduled, began, ended time.Time
	before, last            *failurepb.Failure
}

// readHistories reads the histories of orders, by id. The history of a lost order
// is empty: the auditor reports it.
func readHistories(ctx context.Context, orders *desk.Client, ids []string) (map[string]*history, error) {
	histories := map[string]*history{}
	for _, id := range ids {
		recorded, err := orders.History(ctx, id)
		if err != nil && !errors.Is(err, coffee.ErrNotFound) {
			return nil, err
		}
		histories[id] = readHistory(recorded.Events)
	}
	return histories, nil
}

func readHistory(events []*historypb.HistoryEvent) *history {
	h, activities := &history{}, desk.Activities{}
	underWay := map[int64]*givenUp{} // by the event that scheduled the step; nil if it is to be cancelled
	for _, event := range events {
		now, step := event.GetEventTime().AsTime(), underWay[desk.ScheduledBy(event)]
		activity := activities.Of(event)
		switch event.GetEventType() {
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
			h.steps = append(h.steps, now)
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
			h.steps = append(h.steps, now)
			h.workers = append(h.workers, event.GetWorkflowTaskCompletedEventAttributes().GetIdentity())
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
			h.misfit = h.misfit || event.GetWorkflowTaskFailedEventAttributes().GetCause() == enumspb.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
			h.cancelled = h.cancelled || event.GetWorkflowExecutionSignaledEventAttributes().GetSignalName() == coffee.SignalCancelOrder
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
			result, _ := coffee.DecodeResult(event.GetWorkflowExecutionCompletedEventAttributes().GetResult())
			h.failed = result.Status == coffee.StatusFailed
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			underWay[event.GetEventId()] = &givenUp{step: activity, scheduled: now}
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED: // what becomes of it counts no more
			underWay[desk.ScheduledBy(event)] = nil
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
			if started := event.GetActivityTaskStartedEventAttributes(); step != nil {
				step.attempts, step.worker, step.began, step.before = int(started.GetAttempt()), started.GetIdentity(), now, started.GetLastFailure()
			}
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
			h.workers = append(h.workers, event.GetActivityTaskCompletedEventAttributes().GetIdentity())
			if activity == coffee.ActivityBrewCoffee && step != nil {
				h.brewed = append(h.brewed, step.attempts)
			}
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
			h.giveUp(step, now, event.GetActivityTaskFailedEventAttributes().GetFailure())
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
			h.giveUp(step, now, event.GetActivityTaskTimedOutEventAttributes().GetFailure())
		}
	}
	return h
}

// giveUp adds a step that failed for good, unless it was to be cancelled.
func (h *history) giveUp(step *givenUp, now time.Time, failure *failurepb.Failure) {
	if step != nil {
		step.ended, step.last = now, failure
		h.givenUp = append(h.givenUp, *step)
	}
}
