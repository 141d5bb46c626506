package audit

import (
	"cmp"
	"slices"
	"time"
)

// A history is deleted when its retention has ended, and its rows stay. So a row
// without a history is a breach only if its history must still exist, and neither
// the namespace's retention nor the row's own time tells that by itself: when a
// history will be deleted is fixed when its order ends, whatever the retention is
// later; and the time in a row is that of a worker, whose clock may be wrong.

const (
	// shortestRetention is the least that Temporal accepts.
	shortestRetention = time.Hour
	// retentionJitter bounds how much later than another history one is deleted
	// that ended at the same time: Temporal adds up to half an hour at random.
	retentionJitter = time.Hour
)

// horizon knows since when histories must exist.
type horizon struct {
	now time.Time
	// since is when the first of the orders that are still known ended, or when
	// today's retention begins, whichever is later; with the jitter added.
	since time.Time
	// ended is true if there is such an order.
	ended bool
	// known are the rows whose order is known, in the order in which they were
	// written. None of them was written before from, by the server's clock.
	known []knownRow
}

type knownRow struct {
	number int64
	from   time.Time // the latest of this row and those before it
}

// newHorizon looks at all that is known. Keep is the namespace's retention; 0
// means for ever.
func newHorizon(now time.Time, keep time.Duration, stories map[string][]*story, rows []Row, workflowID func(orderID string) string) *horizon {
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
		if row.Kind == kindDelivery { // whose numbers are not in this order
			continue
		}
		for _, s := range stories[workflowID(row.OrderID)] {
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

// suspicious says why the history of the order that a row belongs to must still
// exist; empty if it may have been deleted for its age.
func (h *horizon) suspicious(row Row) string {
	if row.Kind == kindDelivery {
		return "" // its charge is, if it is
	}
	if row.RecordedAt.IsZero() {
		return "and it has no time that can be read"
	}
	soon := h.now.Add(-shortestRetention)
	// It was written after every row before it, however wrong its clock was.
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
