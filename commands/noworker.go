package commands

import (
	"context"
	"time"

	"example.com/coffee/coffee"
)

const (
	// noWorkerPatience is how long an order waits for a worker before the user is told.
	noWorkerPatience = 2 * time.Second
	// answerPatience is how long the server may take to say whether it does.
	answerPatience = 3 * time.Second
)

// hintIfStuck tells the user why nothing happens to an order: no worker is running,
// or the server is away.
func hintIfStuck(ctx context.Context, out *output, orders *coffee.Client, id string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var s stuck
		for sleep(ctx, noWorkerPatience) {
			asking, cancel := context.WithTimeout(ctx, answerPatience)
			none, err := orders.NoWorker(asking, id)
			cancel()
			if ctx.Err() != nil {
				return
			}
			if hint := s.hint(time.Now(), none, err, id); hint != "" {
				out.notef("%s", hint)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// stuck is what the user was told.
type stuck struct {
	diagnoser coffee.Diagnoser
	last      coffee.Diagnosis
	noWorker  bool // the user knows that there is no worker
}

// hint returns what to tell the user now, or "": whether the order waits for a worker
// that is not there, or what came instead of an answer.
func (s *stuck) hint(now time.Time, noWorker bool, err error, id string) string {
	if err != nil && !noAnswer(err) { // it surfaces in the command itself
		return ""
	}
	before := s.last
	s.last = s.diagnoser.Observe(now, err != nil, noWorker)
	switch {
	case s.last == coffee.DiagnosisServerAway && before != s.last:
		return "the server does not answer: waiting for it; order " + id + " is recorded there"
	case before == coffee.DiagnosisServerAway && s.last != before && s.noWorker:
		return "the server is back"
	case before == coffee.DiagnosisServerAway && s.last != before:
		return reconnectingText
	case s.last == coffee.DiagnosisNoWorker && !s.noWorker:
		s.noWorker = true
		return "no worker is polling the task queue " + coffee.TaskQueue + ": order " + id + " is waiting for one; start one with: coffee worker"
	}
	return ""
}

const reconnectingText = "the server is back; its workers reconnect within seconds"

// waitForNoWorker returns true once the order has waited too long for a worker,
// or false if the context ends first.
func waitForNoWorker(ctx context.Context, orders *coffee.Client, id string) bool {
	for sleep(ctx, noWorkerPatience) {
		// An error of the server will surface in the command itself.
		if none, err := orders.NoWorker(ctx, id); err == nil && none {
			return true
		}
	}
	return false
}
