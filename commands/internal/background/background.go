// Package background runs what a command needs until it stops, web servers included.
package background

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"
)

// Tasks are what a command runs in this process until it stops: a server, a
// worker, a board. The zero value is ready to use.
type Tasks struct {
	stops []func() error
	ended chan struct{} // has a value once a task has ended
}

// Start runs a task in a goroutine. The task should run until its context ends;
// if it ends earlier, [Tasks.Wait] returns.
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

// OnStop registers f for [Tasks.Stop], which calls it before it stops what
// was started earlier.
func (b *Tasks) OnStop(f func() error) { b.stops = append(b.stops, f) }

// Wait returns when a task has ended by itself, or when the context ends. The
// error of the task is returned by [Tasks.Stop].
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

// Serve serves HTTP on a listener, which it takes over. When it stops, requests in
// flight have a second to finish.
func (b *Tasks) Serve(what string, listener net.Listener, server *http.Server) {
	b.Start(func(ctx context.Context) error {
		stopped := make(chan error, 1)
		unlessFailed := context.AfterFunc(ctx, func() { stopped <- shutDown(server) })
		err := server.Serve(listener)
		if errors.Is(err, http.ErrServerClosed) {
			return <-stopped
		}
		unlessFailed()
		return errors.Join(fmt.Errorf("the %s failed: %w", what, err), shutDown(server))
	})
}

// shutDown ends the event streams of a board, and gives other requests a second.
func shutDown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	return err
}

// WithTLS lets a listener speak TLS; nil leaves it as it is.
func WithTLS(listener net.Listener, config *tls.Config) net.Listener {
	if config == nil {
		return listener
	}
	return tls.NewListener(listener, config)
}

// Scheme is that of the URLs of what listens with a TLS configuration.
func Scheme(config *tls.Config) string {
	if config == nil {
		return "http"
	}
	return "https"
}
