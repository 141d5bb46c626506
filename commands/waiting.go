package commands

import (
	"context"
	"slices"
	"time"

	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/sleep"
)

const (
	// hintPatience is how long an order waits before the user is told why.
	hintPatience = 2 * time.Second
	// answerPatience is how long the server may take to say so.
	answerPatience = 3 * time.Second
)

// hintIfStuck tells the user why nothing happens to an order: nobody is there to take it,
// or the server is away.
func hintIfStuck(ctx context.Context, out *output, orders *desk.Client, id string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var h hinter
		for sleep.For(ctx, hintPatience) {
			asking, cancel := context.WithTimeout(ctx, answerPatience)
			waits, err := orders.Waiting(asking, id)
			cancel()
			if ctx.Err() != nil {
				return
			}
			if hint := h.hint(time.Now(), waits, err, id); hint != "" {
				out.notef("%s", hint)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// hinter remembers what it has told the user, to say each thing once.
type hinter struct {
	diagnoser desk.Diagnoser
	last      desk.Diagnosis
	told      []string
	unmanned  bool // the user knows that nobody is there
}

// hint returns what to tell the user now, or "": why the order waits, or what came instead
// of an answer.
func (h *hinter) hint(now time.Time, waits desk.Waiting, err error, id string) string {
	if err != nil && !noAnswer(err) { // it surfaces in the command itself
		return ""
	}
	before := h.last
	waits = h.diagnoser.Observe(now, err != nil, waits)
	h.last = waits.Diagnosis
	text := "order " + id + " is waiting: " + waits.String()
	switch {
	case h.last == desk.DiagnosisServerAway:
		return choose(before == h.last, "", "the server does not answer: waiting for it; order "+id+" is recorded there")
	case before == desk.DiagnosisServerAway && h.unmanned:
		return "the server is back"
	case before == desk.DiagnosisServerAway:
		text = reconnectingText
	case h.last == desk.DiagnosisReconnecting:
		text = choose(h.unmanned, "", reconnectingText)
	case h.last == "":
		return ""
	}
	if slices.Contains(h.told, text) {
		return ""
	}
	h.told, h.unmanned = append(h.told, text), h.unmanned || waits.Unmanned()
	return text
}

var reconnectingText = desk.Waiting{Diagnosis: desk.DiagnosisReconnecting}.String()

// waitUntilUnmanned returns why nobody takes the order once it has waited too long, or the
// zero value if the context ends first.
func waitUntilUnmanned(ctx context.Context, orders *desk.Client, id string) desk.Waiting {
	for sleep.For(ctx, hintPatience) {
		// An error of the server will surface in the command itself.
		if waits, err := orders.Waiting(ctx, id); err == nil && waits.Unmanned() {
			return waits
		}
	}
	return desk.Waiting{}
}

// noteIfTimeRuns says on stderr when the server no longer skips the order's time, until
// stop is called.
func noteIfTimeRuns(ctx context.Context, out *output, orders *desk.Client, id string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for sleep.For(ctx, time.Second) {
			skips, err := orders.SkipsTime(ctx, id)
			if err != nil {
				continue // it is only a note
			}
			if !skips {
				out.notef("the server has skipped time as often as it allows: from now on order %s takes the time it takes", id)
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
