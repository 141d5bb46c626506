package background

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestBackground: tasks stop in the opposite order of their start, once, and what
// they end with is reported together.
func TestBackground(t *testing.T) {
	t.Parallel()
	var b Tasks
	var stopped []string
	task := func(name string, err error) func(context.Context) error {
		return func(ctx context.Context) error {
			<-ctx.Done()
			stopped = append(stopped, name)
			return err
		}
	}
	b.OnStop(func() error { stopped = append(stopped, "connection"); return nil })
	b.Start(task("server", errors.New("disk full")))
	b.Start(task("worker", nil))
	b.Start(task("board", errors.New("port gone")))
	err := b.Stop()
	if want := []string{"board", "worker", "server", "connection"}; !slices.Equal(stopped, want) {
		t.Errorf("stopped %v, want %v", stopped, want)
	}
	if err == nil || !strings.Contains(err.Error(), "disk full") || !strings.Contains(err.Error(), "port gone") {
		t.Errorf("got %v", err)
	}
	if err := b.Stop(); err != nil || len(stopped) != 4 {
		t.Errorf("stopped again: %v, %v", stopped, err)
	}
}

// TestBackgroundWait returns when a task fails, and leaves its error for the stop;
// and when the context ends.
func TestBackgroundWait(t *testing.T) {
	t.Parallel()
	var b Tasks
	b.Start(func(ctx context.Context) error { <-ctx.Done(); return nil })
	b.Start(func(context.Context) error { return errors.New("failed") })
	b.Wait(t.Context())
	if err := b.Stop(); err == nil || err.Error() != "failed" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var idle Tasks
	idle.Start(func(ctx context.Context) error { <-ctx.Done(); return nil })
	idle.Wait(ctx)
	if err := idle.Stop(); err != nil {
		t.Error(err)
	}
}
