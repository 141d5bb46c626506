package commands

import (
	"context"
	"errors"
	"slices"
)

// background is what a command runs in this process until it stops: a server, a
// worker, a board. The zero value is ready to use.
type background struct {
	stops []func() error
	ended chan struct{} // has a value once a task has ended
}

// start runs a task in a goroutine. The task should run until its context ends;
// if it ends earlier, [background.wait] returns.
func (b *background) start(task func(context.Context) error) {
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
	b.onStop(func() error {
		cancel()
		<-done
		return err
	})
}

// onStop registers f for [background.stop], which calls it before it stops what
// was started earlier.
func (b *background) onStop(f func() error) { b.stops = append(b.stops, f) }

// wait returns when a task has ended by itself, or when the context ends. The
// error of the task is returned by [background.stop].
func (b *background) wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-b.ended:
	}
}

// stop stops everything in reverse order, and returns all errors joined. Calling it
// again does nothing.
func (b *background) stop() error {
	var errs []error
	for _, stop := range slices.Backward(b.stops) {
		errs = append(errs, stop())
	}
	b.stops = nil
	return errors.Join(errs...)
}
