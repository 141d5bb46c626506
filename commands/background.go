package commands

import (
	"context"
	"errors"
	"slices"
)

// background is what a command runs in this process until it is told to stop: a
// server, a worker, a board. The zero value is ready to use.
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

// onStop has f called by [background.stop], before whatever was started earlier
// is stopped.
func (b *background) onStop(f func() error) { b.stops = append(b.stops, f) }

// wait returns when a task has ended by itself, or when the context ends. The
// error of the task is for [background.stop] to return.
func (b *background) wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-b.ended:
	}
}

// stop stops everything, in the opposite order of its start, and returns all errors
// that the tasks have ended with. To call it again does nothing.
func (b *background) stop() error {
	var errs []error
	for _, stop := range slices.Backward(b.stops) {
		errs = append(errs, stop())
	}
	b.stops = nil
	return errors.Join(errs...)
}
