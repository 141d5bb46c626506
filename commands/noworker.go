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
	// reconnectPatience is how long workers have to come back after the server has
	// been away. The SDK waits for up to ten seconds between two attempts.
	reconnectPatience = 20 * time.Second
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
	noWorker bool
	away     bool      // the server
	back     time.Time // when it came back; zero if it was not away
}

// hint returns what to tell the user now, or "": whether the order waits for a worker
// that is not there, or what came instead of an answer.
func (s *stuck) hint(now time.Time, noWorker bool, err error, id string) string {
	switch {
	case noAnswer(err) && !s.away:
		s.away = true
		return "the server does not answer: waiting for it; order " + id + " is recorded there"
	case err != nil: // other errors surface in the command itself
		return ""
	case s.away:
		s.away, s.back = false, now
		if s.noWorker {
			return "the server is back"
		}
		return "the server is back; its workers reconnect within seconds"
	case noWorker && !s.noWorker && now.Sub(s.back) > reconnectPatience:
		s.noWorker = true
		return "no worker is polling the task queue " + coffee.TaskQueue + ": order " + id + " is waiting for one; start one with: coffee worker"
	}
	return ""
}

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
