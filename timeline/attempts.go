package timeline

import (
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"example.com/coffee/internal/text"
)

// mostAttempts is how many earlier attempts get rows of their own. It bounds the list of
// attempts, which grows with each retry.
const mostAttempts = 10

// earlier returns the attempts before the last one, each with the backoff after it,
// and the waits for a worker.
func (s *step) earlier(readAt time.Time) []Row {
	count := s.attempt - 1
	// The server knows for certain only when the last attempt began, or will begin.
	next := s.started
	if next.IsZero() {
		next = asTime(s.pending.GetNextAttemptScheduleTime())
	}
	due := next.IsZero() && s.pending != nil // the next attempt waits for a worker
	if due {
		next = asTime(s.pending.GetScheduledTime())
	}
	var rows []Row
	known, all := s.known(count, next)
	switch {
	case count > mostAttempts:
		rows = []Row{{Kind: KindAttempt, Name: fmt.Sprintf("attempts 1-%d", count), Start: s.scheduled, End: next, State: StateFailed, Outcome: message(s.before)}}
	case all:
		rows = s.recorded(known, next)
	default:
		rows = s.estimated(known, count, next)
	}
	if last := len(rows) - 1; rows[last].Kind == KindBackoff && s.started.IsZero() && s.ended.IsZero() && !due {
		rows[last].End = time.Time{}
		rows[last].Outcome = fmt.Sprintf("attempt %d follows", s.attempt)
	}
	if due && s.ended.IsZero() && !s.paused() && readAt.Sub(next) > patience {
		rows = append(rows, Row{Kind: KindWait, Name: waitName, Start: next, State: StateWaiting, Outcome: waitingOutcome})
	}
	return rows
}

// known returns what workers told about the first attempts, by number less one, and
// whether that is all of them. What does not fit between the step's beginning and the
// next attempt is left out.
func (s *step) known(count int, next time.Time) (known []Attempt, all bool) {
	if count > mostAttempts {
		return nil, false
	}
	known = make([]Attempt, count)
	for _, a := range s.told {
		if a.Number >= 1 && a.Number <= count && !a.Began.Before(s.scheduled) && !a.Ended.Before(a.Began) && !a.Ended.After(next) {
			known[a.Number-1] = a // the last word counts
		}
	}
	for i, a := range known {
		if a.Number == 0 || i > 0 && a.Began.Before(known[i-1].Ended) {
			return known, false
		}
	}
	return known, true
}

// recorded returns the rows of attempts that are all known.
func (s *step) recorded(known []Attempt, next time.Time) (rows []Row) {
	for i, a := range known {
		following := next
		if i+1 < len(known) {
			following = known[i+1].Began
		}
		end, outcome := s.ending(a, following)
		rows = append(rows, Row{Kind: KindAttempt, Name: attemptName(a.Number), Start: a.Began, End: end, State: StateFailed, Outcome: outcome})
		over := earliest(end.Add(s.backoff(a.Number)), following)
		rows = append(rows, Row{Kind: KindBackoff, Name: "backoff", Start: end, End: over, State: StateWaiting})
		if following.Sub(over) > patience {
			rows = append(rows, Row{Kind: KindWait, Name: waitName, Start: over, End: following, State: StateWaiting, Outcome: waitOutcome})
		}
	}
	return rows
}

// ending returns when and why an attempt ended. A worker that was lost did not say so:
// its attempt ended with the timeout that came first after its last sign of life.
func (s *step) ending(a Attempt, following time.Time) (end time.Time, outcome string) {
	isLast := a.Number == s.attempt-1
	timeout := s.before.GetTimeoutFailureInfo()
	if a.Failure != "" && !(isLast && timeout != nil) {
		return a.Ended, text.Clip(a.Failure, text.MaxText)
	}
	if isLast && timeout == nil && s.before != nil { // it failed, and had no time to add that to the list
		return a.Ended, message(s.before)
	}
	end, kind := following, enumspb.TIMEOUT_TYPE_HEARTBEAT
	if s.heartbeat > 0 {
		end = earliest(end, a.Ended.Add(s.heartbeat))
	}
	if closing := a.Began.Add(s.startToClose); s.startToClose > 0 && (s.heartbeat == 0 || closing.Before(end)) {
		end, kind = earliest(end, closing), enumspb.TIMEOUT_TYPE_START_TO_CLOSE
	}
	if isLast && timeout != nil {
		kind = timeout.GetTimeoutType()
	}
	return end, timeoutInWords(kind)
}

// estimated returns the rows of attempts of which some are unknown, as if all of them
// had taken equally long.
func (s *step) estimated(known []Attempt, count int, next time.Time) (rows []Row) {
	var backoffs time.Duration
	for i := 1; i <= count; i++ {
		backoffs += s.backoff(i)
	}
	each := max(0, next.Sub(s.scheduled)-backoffs) / time.Duration(count)
	at := s.scheduled
	for i := 1; i <= count; i++ {
		outcome := "failed"
		switch {
		case i == count:
			outcome = message(s.before)
		case known[i-1].Failure != "":
			outcome = text.Clip(known[i-1].Failure, text.MaxText)
		}
		end := at.Add(each)
		rows = append(rows, Row{Kind: KindAttempt, Name: attemptName(i), Start: at, End: end, State: StateFailed, Outcome: outcome, Estimated: true})
		at = end.Add(s.backoff(i))
		rows = append(rows, Row{Kind: KindBackoff, Name: "backoff", Start: end, End: at, State: StateWaiting, Estimated: true})
	}
	return rows
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
