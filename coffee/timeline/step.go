package timeline

import (
	"cmp"
	"fmt"
	"math"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/text"
)

// step is an activity with all its attempts.
type step struct {
	activity, id string
	amount       coffee.Cents
	policy       *commonpb.RetryPolicy
	scheduled    time.Time
	// The timeouts of an attempt; 0 if it has none.
	startToClose, heartbeat time.Duration

	// Of the last attempt: its number, when it began, and why the one before it
	// failed.
	attempt int
	started time.Time
	before  *failurepb.Failure

	ended   time.Time // zero while it is running
	state   State
	outcome string
	failure string // of the last attempt
	// told is what its workers told about its attempts, oldest first.
	told []Attempt

	pending *workflowpb.PendingActivityInfo
	events  []Event
}

// read reads an event that is about the step.
func (s *step) read(event *historypb.HistoryEvent) {
	s.events = append(s.events, events(event)...)
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
		attributes := event.GetActivityTaskStartedEventAttributes()
		s.attempt, s.started, s.before = int(attributes.GetAttempt()), desk.AsTime(event.GetEventTime()), attributes.GetLastFailure()
		s.told = append(s.told, attemptsInFailure(s.before)...)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		s.end(event, StateCancelled, "cancelled")
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		s.end(event, StateOK, s.done(event.GetActivityTaskCompletedEventAttributes().GetResult()))
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		attributes := event.GetActivityTaskFailedEventAttributes()
		s.fail(event, attributes.GetFailure(), attributes.GetRetryState())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		attributes := event.GetActivityTaskTimedOutEventAttributes()
		s.fail(event, attributes.GetFailure(), attributes.GetRetryState())
	}
}

// end records how the step ended, the first time only: a cancelled step may still
// complete, but the order no longer waits for it.
func (s *step) end(event *historypb.HistoryEvent, state State, outcome string) {
	if s.ended.IsZero() {
		s.ended, s.state, s.outcome = desk.AsTime(event.GetEventTime()), state, outcome
	}
}

func (s *step) fail(event *historypb.HistoryEvent, failure *failurepb.Failure, retries enumspb.RetryState) {
	s.failure = message(failure)
	s.told = append(s.told, attemptsInFailure(failure)...)
	outcome := s.failure
	if retries == enumspb.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED && s.attempt > 1 {
		outcome = fmt.Sprintf("given up after %d attempts: %s", s.attempt, s.failure)
	}
	s.end(event, StateFailed, outcome)
}

// inWords is what activities are called, and what they have done once they are completed.
var inWords = map[string]struct{ name, done string }{
	coffee.ActivityChargeCustomer: {"charge", "charged"},
	coffee.ActivityBrewCoffee:     {"brew", "brewed"},
	coffee.ActivitySendReceipt:    {"receipt", "sent"},
	coffee.ActivityRefundCustomer: {"refund", "nothing was charged"},
	coffee.ActivityDeliverCoffee:  {"delivery", "handed out"},
	coffee.ActivityRecallOrder:    {"recall", "not accepted before the reset"},
}

// done says in words what the completed activity has done.
func (s *step) done(result *commonpb.Payloads) string {
	var refund coffee.RefundOutput
	var recall coffee.RecallOutput
	payload := coffee.FirstPayload(result)
	switch s.activity {
	case coffee.ActivityChargeCustomer:
		return "charged " + s.amount.String()
	case coffee.ActivityRefundCustomer:
		switch decoded := coffee.Decode(payload, &refund); {
		case decoded && refund.Refunded && cmp.Or(refund.AmountCents, s.amount) == 0:
			return "refunded" // charged in a run that was reset, and refunded by another program
		case decoded && refund.Refunded:
			return "refunded " + cmp.Or(refund.AmountCents, s.amount).String()
		case refund.Delivered:
			return "too late: the coffee was handed out before the reset"
		}
	case coffee.ActivityRecallOrder:
		if coffee.Decode(payload, &recall) && recall.Accepted {
			return "accepted at " + recall.AmountCents.String() + " before the reset"
		}
	}
	return cmp.Or(inWords[s.activity].done, "done")
}

func (s *step) rows(readAt time.Time) []Row {
	state, outcome := s.state, s.outcome
	if s.ended.IsZero() {
		state, outcome = StateRunning, "under way"
		s.takePending()
		switch s.pending.GetState() {
		case enumspb.PENDING_ACTIVITY_STATE_PAUSED:
			state, outcome = StateWaiting, "paused "+desk.ActivityPause(s.pending)
		case enumspb.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED:
			outcome += ", then paused " + desk.ActivityPause(s.pending)
		}
	}
	if state == StateOK && s.attempt > 1 {
		outcome = fmt.Sprintf("%s at attempt %d", outcome, s.attempt)
	}
	rows := []Row{{Kind: KindStep, Name: cmp.Or(inWords[s.activity].name, text.Clip(s.activity, 60)), Start: s.scheduled, End: s.ended, State: state, Outcome: outcome, Events: s.events}}
	if s.attempt <= 1 {
		return append(rows, s.waits(readAt)...)
	}
	rows = append(rows, s.earlier(readAt)...)
	if !s.started.IsZero() {
		last := Row{Kind: KindAttempt, Name: attemptName(s.attempt), Start: s.started, End: s.ended, State: state, Outcome: s.outcome}
		switch state {
		case StateRunning:
			last.Outcome = "under way"
		case StateFailed:
			last.Outcome = s.failure
		}
		rows = append(rows, last)
	}
	return rows
}

// takePending stores what the server says about a step under way.
func (s *step) takePending() {
	info := s.pending
	if info == nil {
		return
	}
	s.attempt, s.before = int(info.GetAttempt()), info.GetLastFailure()
	s.told = append(s.told, attemptsInFailure(s.before)...)
	s.told = append(s.told, DecodeAttempts(info.GetHeartbeatDetails())...)
	s.started = desk.AsTime(info.GetLastStartedTime())
	if info.GetState() == enumspb.PENDING_ACTIVITY_STATE_SCHEDULED || s.paused() {
		s.started = time.Time{} // that was the attempt before
	}
}

// paused reports whether the step has been paused, so that it does not run.
func (s *step) paused() bool {
	return s.ended.IsZero() && s.pending.GetState() == enumspb.PENDING_ACTIVITY_STATE_PAUSED
}

// waits returns a row if the only attempt had to wait for a worker.
func (s *step) waits(readAt time.Time) []Row {
	row := Row{Kind: KindWait, Name: waitName, Start: s.scheduled, End: s.started, State: StateWaiting, Outcome: waitOutcome}
	until := s.started
	if until.IsZero() {
		if s.pending == nil || !s.ended.IsZero() || s.paused() {
			return nil // it is paused, or it is over and its start was not recorded
		}
		row.Outcome, until = waitingOutcome, readAt
	}
	if until.Sub(s.scheduled) <= patience {
		return nil
	}
	return []Row{row}
}

// backoff returns how long Temporal waits after an attempt. Attempts count from 1.
func (s *step) backoff(attempt int) time.Duration {
	first, coefficient := s.policy.GetInitialInterval().AsDuration(), s.policy.GetBackoffCoefficient()
	backoff := first.Seconds() * math.Pow(max(coefficient, 1), float64(attempt-1))
	if longest := s.policy.GetMaximumInterval().AsDuration().Seconds(); longest > 0 {
		backoff = min(backoff, longest)
	}
	backoff = min(backoff, (365 * 24 * time.Hour).Seconds())
	return time.Duration(backoff * float64(time.Second))
}

func attemptName(n int) string { return fmt.Sprintf("attempt %d", n) }
