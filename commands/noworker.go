package commands

import (
	"context"
	"time"

	"example.com/coffee/coffee"
)

// noWorkerPatience is how long an order waits for a worker before the user is told.
const noWorkerPatience = 2 * time.Second

// hintIfNoWorker tells the user, once, if an order is waiting for a worker and
// none is running: the most common reason why nothing happens.
func hintIfNoWorker(ctx context.Context, out *output, orders *coffee.Client, id string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if waitForNoWorker(ctx, orders, id) {
			out.notef("no worker is polling the task queue %s: order %s is waiting for one; start one with: coffee worker", coffee.TaskQueue, id)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// waitForNoWorker returns true once the order has waited too long for a worker,
// or false if the context ends first.
func waitForNoWorker(ctx context.Context, orders *coffee.Client, id string) bool {
	ticker := time.NewTicker(noWorkerPatience)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
		// An error of the server will surface in the command itself.
		if none, err := orders.NoWorker(ctx, id); err == nil && none {
			return true
		}
	}
}
