// Package timeline turns the history of an order into rows: one for each step, for
// each attempt and the backoff after it, for each event from outside, and for each
// time that a task waited for a worker.
//
// [New] is a pure function. It reads as much of a history as it understands. The
// rest of the package draws the rows: as text (text.go), as a picture (svg.go), and
// for documents (mermaid.go).
package timeline

import (
	"fmt"
	"time"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/text"
)

// Timeline is the history of an order, as rows.
type Timeline struct {
	OrderID     string       `json:"order_id"`
	Drink       coffee.Drink `json:"drink,omitempty"`
	Size        coffee.Size  `json:"size,omitempty"`
	AmountCents coffee.Cents `json:"amount_cents,omitempty"`
	// Status is RUNNING, or how the order ended; empty if its workflow ended
	// without a result.
	Status coffee.OrderStatus `json:"status,omitempty"`
	// Ending is how it ended, in words; empty while it runs.
	Ending    string    `json:"ending,omitempty"`
	StartedAt time.Time `json:"started_at"`
	// EndedAt is zero while the order runs.
	EndedAt time.Time `json:"ended_at,omitzero"`
	// ReadAt is when the history was read, on the order's clock.
	ReadAt time.Time `json:"-"`
	// Skips are the times that were skipped; see [desk.Client.SkipTime]. All other
	// times are those of the order's clock, which such a skip moves ahead.
	Skips []Skip `json:"skips,omitempty"`
	Rows  []Row  `json:"rows"`
}

// Skip is a time that passed on the order's clock only.
type Skip struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// Row is one part of a timeline.
type Row struct {
	Kind Kind `json:"kind"`
	// Name says in a word or two what it is.
	Name  string    `json:"name"`
	Start time.Time `json:"start"`
	// End is zero while the row is in progress, and equal to Start for a moment.
	End     time.Time `json:"end,omitzero"`
	State   State     `json:"state"`
	Outcome string    `json:"outcome,omitempty"`
	// Estimated is true if Start and End are estimates. Temporal records the
	// beginning of the last attempt only. If the worker could not hand on those of
	// the earlier attempts ([coffee.Attempt]), they follow from the retry policy, as
	// if all of them had taken equally long.
	Estimated bool `json:"estimated,omitempty"`
	// Events are the events in Temporal's history that the row comes from.
	Events []Event `json:"events,omitempty"`
}

// Kind is what a row is about.
type Kind string

// The kinds of rows. Attempts, backoffs and waits belong to the step above them.
const (
	KindStep    Kind = "step"
	KindAttempt Kind = "attempt"
	KindBackoff Kind = "backoff"
	KindWait    Kind = "wait"   // for a worker
	KindMoment  Kind = "moment" // something that came from outside
)

// State is the state of a row.
type State string

// The states of a row.
const (
	StateOK        State = "ok"
	StateFailed    State = "failed"
	StateCancelled State = "cancelled"
	StateRunning   State = "running"
	StateWaiting   State = "waiting"
)

// Event is an event of a history.
type Event struct {
	ID   int64     `json:"id"`
	Type string    `json:"type"`
	Time time.Time `json:"time"`
}

// patience is how long a task may wait for a worker before the wait gets a row of
// its own.
const patience = time.Second

// New returns the timeline of a history.
func New(history desk.History) Timeline {
	r := &reader{
		timeline: Timeline{OrderID: history.OrderID, Status: coffee.StatusRunning, ReadAt: history.ReadAt, Rows: []Row{}},
		steps:    map[int64]*step{},
	}
	for _, event := range history.Events {
		r.read(event)
	}
	r.timeline.ReadAt = r.timeline.ReadAt.Add(r.timeline.Skipped())
	r.pending(history.Pending)
	return r.finish(history.Waiting)
}

// Skipped returns how much time was skipped.
func (t Timeline) Skipped() (sum time.Duration) {
	for _, skip := range t.Skips {
		sum += skip.Until.Sub(skip.From)
	}
	return sum
}

const (
	waitName       = "waiting"
	waitOutcome    = "waited for a worker"
	waitingOutcome = "waiting for a worker"
)

// Order returns a title: the order id, what was ordered, and the price.
func (t Timeline) Order() string {
	title := "Order " + text.Printable(t.OrderID)
	if t.Drink != "" {
		title += ": " + text.Printable(text.Clip(string(t.Drink), 40))
		if t.Size != "" {
			title += fmt.Sprintf(" (%s)", text.Printable(text.Clip(string(t.Size), 10)))
		}
	}
	if t.AmountCents != 0 {
		title += ", " + t.AmountCents.String()
	}
	return title
}

// Summary returns how the order ended and how long it took, or how long it has been
// running. If time was skipped it says both: how long that was on the order's clock,
// and how long in fact.
func (t Timeline) Summary() string {
	took := t.Until().Sub(t.StartedAt)
	inWords := Duration(took)
	if skipped := t.Skipped(); skipped > 0 {
		inWords += " on its clock, " + Duration(took-skipped) + " in fact"
	}
	if t.EndedAt.IsZero() {
		return "running for " + inWords
	}
	return text.Printable(t.Ending) + " after " + inWords
}

// Until returns when the order ended, or when its history was read if it is
// running.
func (t Timeline) Until() time.Time {
	if t.EndedAt.IsZero() {
		return t.ReadAt
	}
	return t.EndedAt
}

// Duration formats a duration in at most seven characters: 25 ms, 0.5 s, 2m03s,
// 3h04m, 2d05h.
func Duration(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(d, 0); {
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	case d < 1000*day:
		return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
	}
	return "1000d+"
}
