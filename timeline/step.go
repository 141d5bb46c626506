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

	"example.com/coffee/internal/text"
)

// step is an activity with all its attempts.
type step struct {
	activity, id string
	words        Words
	policy       *commonpb.RetryPolicy
	begin        *historypb.HistoryEvent
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

// newStep returns the step that an event schedules.
func newStep(event *historypb.HistoryEvent, words Words) *step {
	attributes := event.GetActivityTaskScheduledEventAttributes()
	return &step{activity: attributes.GetActivityType().GetName(), id: attributes.GetActivityId(), words: words, policy: attributes.GetRetryPolicy(),
		begin: event, scheduled: asTime(event.GetEventTime()), events: events(event),
		startToClose: attributes.GetStartToCloseTimeout().AsDuration(), heartbeat: attributes.GetHeartbeatTimeout().AsDuration()}
}

// read reads an event that is about the step.
func (s *step) read(event *historypb.HistoryEvent) {
	s.events = append(s.events, events(event)...)
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
		attributes := event.GetActivityTaskStartedEventAttributes()
		s.attempt, s.started, s.before = int(attributes.GetAttempt()), asTime(event.GetEventTime()), attributes.GetLastFailure()
		s.told = append(s.told, attemptsInFailure(s.before)...)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		s.end(event, StateCancelled, "cancelled")
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		s.end(event, StateOK, s.done(event))
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		attributes := event.GetActivityTaskFailedEventAttributes()
		s.fail(event, attributes.GetFailure(), attributes.GetRetryState())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		attributes := event.GetActivityTaskTimedOutEventAttributes()
		s.fail(event, attributes.GetFailure(), attributes.GetRetryState())
	}
}

// end records how the step ended. One that was asked to end may complete all the same, or
// fail; if its workflow does not wait for it, the history does not say.
func (s *step) end(event *historypb.HistoryEvent, state State, outcome string) {
	if s.ended.IsZero() || s.state == StateCancelled && state != StateCancelled {
		s.ended, s.state, s.outcome = asTime(event.GetEventTime()), state, outcome
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

// done says in words what the completed activity has done.
func (s *step) done(completed *historypb.HistoryEvent) (done string) {
	if s.words.Done != nil {
		done = s.words.Done(s.begin, completed)
	}
	return cmp.Or(done, "done")
}

// name is what the step is called.
func (s *step) name() (name string) {
	if s.words.Name != nil {
		name = s.words.Name(s.activity)
	}
	return cmp.Or(name, text.Clip(s.activity, text.MaxName))
}

func (s *step) rows(readAt time.Time) []Row {
	state, outcome := s.state, s.outcome
	if s.ended.IsZero() {
		state, outcome = StateRunning, "under way"
		s.takePending()
		switch s.pending.GetState() {
		case enumspb.PENDING_ACTIVITY_STATE_PAUSED:
			state, outcome = StateWaiting, "paused "+ActivityPausedBy(s.pending)
		case enumspb.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED:
			outcome += ", then paused " + ActivityPausedBy(s.pending)
		}
	}
	if state == StateOK && s.attempt > 1 {
		outcome = fmt.Sprintf("%s at attempt %d", outcome, s.attempt)
	}
	rows := []Row{{Kind: KindStep, Name: s.name(), Start: s.scheduled, End: s.ended, State: state, Outcome: outcome, Events: s.events}}
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
	s.started = asTime(info.GetLastStartedTime())
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

// ActivityPausedBy says who has paused an activity, and why.
func ActivityPausedBy(activity *workflowpb.PendingActivityInfo) string {
	rule, manual := activity.GetPauseInfo().GetRule(), activity.GetPauseInfo().GetManual()
	return PausedBy(cmp.Or(rule.GetIdentity(), manual.GetIdentity()), cmp.Or(rule.GetReason(), manual.GetReason()))
}

// PausedBy says who has paused something, and why. Both may be empty.
func PausedBy(identity, reason string) string {
	by := "by " + cmp.Or(identity, "somebody")
	if reason != "" {
		by += ": " + reason
	}
	return text.Clip(text.Plain(by), text.MaxText)
}

func attemptName(n int) string { return fmt.Sprintf("attempt %d", n) }
