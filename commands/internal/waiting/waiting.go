// Package waiting tells the user why an order waits.
package waiting

import (
	"context"
	"slices"
	"sync"
	"time"

	"example.com/coffee/coffee/desk"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/sleep"
)

const (
	// hintPatience is how long an order waits before the user is told why.
	hintPatience = 2 * time.Second
	// AnswerPatience is how long the server may take to say so.
	AnswerPatience = 3 * time.Second
)

// HintIfStuck tells the user why nothing happens to an order: nobody is there to take it,
// or the server is away.
func HintIfStuck(ctx context.Context, out *terminal.Output, orders *desk.Client, id string) (stop func()) {
	return aside(ctx, func(ctx context.Context) {
		var h Hinter
		for sleep.For(ctx, hintPatience) {
			asking, cancel := context.WithTimeout(ctx, AnswerPatience)
			waits, err := orders.Waiting(asking, id)
			cancel()
			if hint := h.Hint(time.Now(), waits, err, id); hint != "" && ctx.Err() == nil {
				out.Notef("%s", hint)
			}
		}
	})
}

// aside runs a task until it returns or stop is called.
func aside(ctx context.Context, task func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { task(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// Hinter remembers what it has told the user, to say each thing once.
type Hinter struct {
	diagnoser desk.Diagnoser
	last      desk.Diagnosis
	told      []string
	unmanned  bool // the user knows that nobody is there
}

// Hint returns what to tell the user now, or "": why the order waits, or what came instead
// of an answer.
func (h *Hinter) Hint(now time.Time, waits desk.Waiting, err error, id string) string {
	if err != nil && !connect.NoAnswer(err) { // it surfaces in the command itself
		return ""
	}
	before := h.last
	waits = h.diagnoser.Observe(now, err != nil, waits)
	h.last = waits.Diagnosis
	text := "order " + id + " is waiting: " + waits.String()
	switch {
	case h.last == desk.DiagnosisServerAway:
		return terminal.Choose(before == h.last, "", "the server does not answer: waiting for it; order "+id+" is recorded there")
	case before == desk.DiagnosisServerAway && h.unmanned:
		return "the server is back"
	case before == desk.DiagnosisServerAway:
		text = reconnectingText
	case h.last == desk.DiagnosisReconnecting:
		text = terminal.Choose(h.unmanned, "", reconnectingText)
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

// WaitUntilUnmanned returns why nobody takes the order once it has waited too long, or the
// zero value if the context ends first.
func WaitUntilUnmanned(ctx context.Context, orders *desk.Client, id string) desk.Waiting {
	for sleep.For(ctx, hintPatience) {
		// An error of the server will surface in the command itself.
		if waits, err := orders.Waiting(ctx, id); err == nil && waits.Unmanned() {
			return waits
		}
	}
	return desk.Waiting{}
}

// NoteIfTimeRuns says on stderr when the server no longer skips the order's time, until
// stop is called.
func NoteIfTimeRuns(ctx context.Context, out *terminal.Output, orders *desk.Client, id string) (stop func()) {
	return aside(ctx, func(ctx context.Context) {
		for sleep.For(ctx, time.Second) {
			if skips, err := orders.SkipsTime(ctx, id); err == nil && !skips { // an error: it is only a note
				out.Notef("the server has skipped time as often as it allows: from now on order %s takes the time it takes", id)
				return
			}
		}
	})
}
