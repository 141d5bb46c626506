package coffee

import (
	"context"
	"errors"
	"testing"

	"go.temporal.io/sdk/worker"
)

// brokenWorker is a worker of the SDK's that cannot start.
type brokenWorker struct {
	worker.Worker
	err     error
	stopped bool
}

func (w *brokenWorker) Start() error { return w.err }
func (w *brokenWorker) Stop()        { w.stopped = true }

// TestFailedStart: a worker that cannot start stops what the SDK has started, and gives
// its share of the SDK's cache back.
func TestFailedStart(t *testing.T) {
	t.Parallel()
	broken := &brokenWorker{err: errors.New("no heartbeats")}
	w := &Worker{worker: broken}
	if err := w.Run(context.Background()); !errors.Is(err, broken.err) || !broken.stopped {
		t.Errorf("stopped %v, %v", broken.stopped, err)
	}
}
