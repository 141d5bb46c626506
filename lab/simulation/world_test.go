//go:build unix && !noserver

package simulation

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee/dial"
)

// TestCommits: a server that is killed before one of its commits leaves what it leaves after
// the one before, whether a workflow is there changes at one of them, and nobody hears of it.
func TestCommits(t *testing.T) {
	was, changes := false, 0
	for n := 0; changes == 0 || n < 4; n++ {
		if n == 10 {
			t.Fatal("the start of a workflow has not been committed")
		}
		before, after := startAndKill(t, n, false), startAndKill(t, n, true)
		if before != was {
			t.Errorf("before commit %d the workflow is there: %v; after the one before: %v", n, before, was)
		}
		if before != after {
			changes++
		}
		was = after
	}
	if changes != 1 {
		t.Errorf("it changed %d times", changes)
	}
}

// startAndKill reports whether a workflow is there after its start was cut short by the death
// of the server at one of its commits.
func startAndKill(t *testing.T, commit int, kept bool) (there bool) {
	t.Helper()
	dir := t.TempDir()
	Run(func() {
		w := New(1, dir, nil)
		if err := w.Start(t.Context()); err != nil {
			t.Error(err)
			return
		}
		defer func() {
			if err := w.Stop(); err != nil {
				t.Error(err)
			}
		}()
		node := w.Node("client")
		conn, err := node.Dial(t.Context(), client.Options{Logger: dial.NewLogger(zerolog.Nop())})
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		told := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // in which it tries again
			defer cancel()
			_, err := conn.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "1", TaskQueue: "none"}, "Any")
			told <- err
		}()
		if err := w.Kill(commit, kept); err != nil {
			t.Error(err)
		}
		hit := fmt.Sprint(w.Hits())
		if err := <-told; err == nil {
			t.Errorf("commit %d: the client was told that the workflow is there, and %s", commit, hit)
		}
		if err := w.Start(t.Context()); err != nil {
			t.Error(err)
			return
		}
		_, err = conn.DescribeWorkflowExecution(t.Context(), "1", "")
		var missing *serviceerror.NotFound
		if there = err == nil; err != nil && !errors.As(err, &missing) {
			t.Error(err)
		}
	})
	return there
}
