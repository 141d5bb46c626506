package audit

import (
	"cmp"
	"slices"
	"time"

	"example.com/coffee/coffee"
)

// A history is deleted when its retention has ended, but its rows stay. So a row
// without a history is a breach only if its history must still exist. Neither the
// namespace's retention nor the row's own time decides that alone. When a history
// will be deleted is fixed when its order ends, whatever the retention is later.
// And the time in a row is that of a worker, whose clock may be wrong.

const (
	// shortestRetention is the shortest retention that Temporal accepts.
	shortestRetention = time.Hour
	// retentionJitter bounds the time between the deletions of two histories that
	// ended at the same time: Temporal adds up to half an hour at random.
	retentionJitter = time.Hour
)

// horizon is the time since which histories must exist.
type horizon struct {
	now time.Time
	// since is when the first of the known orders ended, or when the current
	// retention begins, whichever is later, plus the jitter.
	since time.Time
	// ended is true if one of the known orders has ended.
	ended bool
	// known are the rows whose order is known, in the order in which they were
	// written. By the server's clock, none was written before its from.
	known []knownRow
}

type knownRow struct {
	number int64
	from   time.Time // the latest of this row and those before it
}

// newHorizon returns the horizon for all that is known. keep is the namespace's
// retention; 0 means for ever.
func newHorizon(now time.Time, keep time.Duration, stories map[string][]*story, rows []Row) *horizon {
	h := &horizon{now: now}
	for _, runs := range stories {
		for _, s := range runs {
			if s.ended && (h.since.IsZero() || s.endedAt.Before(h.since)) {
				h.since, h.ended = s.endedAt, true
			}
		}
	}
	if begins := now.Add(-keep); keep > 0 && begins.After(h.since) {
		h.since = begins
	}
	h.since = h.since.Add(retentionJitter)
	for _, row := range rows {
		if row.Kind == kindDelivery { // its number says nothing about the order
			continue
		}
		for _, s := range stories[coffee.WorkflowID(row.OrderID)] {
			if s.origin == row.RunID || s.runID == row.RunID {
				h.known = append(h.known, knownRow{row.Number, s.beganAt})
				break
			}
		}
	}
	slices.SortFunc(h.known, func(a, b knownRow) int { return cmp.Compare(a.number, b.number) })
	for i := range h.known {
		if i > 0 && h.known[i-1].from.After(h.known[i].from) {
			h.known[i].from = h.known[i-1].from
		}
	}
	return h
}

// suspicious says why the history of a row's order must still exist; empty if it
// may have been deleted because of its age.
func (h *horizon) suspicious(row Row) string {
	if row.Kind == kindDelivery {
		return "" // if it is suspicious, so is its charge
	}
	if row.RecordedAt.IsZero() {
		return "and its time cannot be read"
	}
	soon := h.now.Add(-shortestRetention)
	// The row was written after every row before it, however wrong its clock was.
	i, _ := slices.BinarySearchFunc(h.known, row.Number, func(k knownRow, number int64) int { return cmp.Compare(k.number, number) })
	if i > 0 {
		switch from := h.known[i-1].from; {
		case from.After(h.since) && !h.ended:
			return "and is younger than the retention"
		case from.After(h.since):
			return "although orders that ended before it was written are still known"
		case from.After(soon):
			return becauseOfItsAge
		}
		return ""
	}
	if row.RecordedAt.After(soon) && row.RecordedAt.Before(h.now.Add(time.Minute)) {
		return becauseOfItsAge
	}
	return ""
}

const becauseOfItsAge = "and is younger than any retention"
