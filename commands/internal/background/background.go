// Package background runs what a command needs until it stops, web servers included.
package background

import (
	"context"
	"errors"
	"slices"
)

// background is what a command runs in this process until it stops: a server, a
// worker, a board. The zero value is ready to use.
type Tasks struct {
	stops []func() error
	ended chan struct{} // has a value once a task has ended
}

// Start runs a task in a goroutine. The task should run until its context ends;
// if it ends earlier, [background.wait] returns.
func (b *Tasks) Start(task func(context.Context) error) {
	if b.ended == nil {
		b.ended = make(chan struct{}, 1)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var err error
	ended := b.ended
	go func() {
		defer close(done)
		err = task(ctx)
		select {
		case ended <- struct{}{}:
		default:
		}
	}()
	b.OnStop(func() error {
		cancel()
		<-done
		return err
	})
}

// OnStop registers f for [background.stop], which calls it before it stops what
// was started earlier.
func (b *Tasks) OnStop(f func() error) { b.stops = append(b.stops, f) }

// Wait returns when a task has ended by itself, or when the context ends. The
// error of the task is returned by [background.stop].
func (b *Tasks) Wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-b.ended:
	}
}

// Stop stops everything in reverse order, and returns all errors joined. Calling it
// again does nothing.
func (b *Tasks) Stop() error {
	var errs []error
	for _, stop := range slices.Backward(b.stops) {
		errs = append(errs, stop())
	}
	b.stops = nil
	return errors.Join(errs...)
}
