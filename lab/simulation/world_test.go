//go:build unix && !noserver

package simulation

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee/dial"
)

// TestCommits: a server that is killed before one of its commits leaves what it leaves after
// the one before. The start of a workflow is one of them, of which nobody hears if the server
// dies with it; a start that was acknowledged is there.
func TestCommits(t *testing.T) {
	was, changes := false, 0
	for n := 0; changes == 0 || n < 4; n++ {
		if n == 10 {
			t.Fatal("the start of a workflow has not been committed")
		}
		before, told := startAndKill(t, n, false)
		if told && !before {
			t.Errorf("the server was killed before commit %d: the client was told that the workflow is there, and it is not", n)
		}
		after, told := startAndKill(t, n, true)
		if told && !before {
			t.Errorf("the server was killed after commit %d, which has started the workflow, and the client was told", n)
		}
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

// startAndKill starts a workflow, and kills the server at one of its commits. It reports
// whether the workflow is there afterwards, and whether the client was told so.
func startAndKill(t *testing.T, commit int, kept bool) (there, told bool) {
	t.Helper()
	dir := t.TempDir()
	Run(func() {
		ctx := context.Background() // made in here: to wait for t's would stop the clock
		w := New(1, dir, nil)
		if err := w.Start(ctx); err != nil {
			t.Error(err)
			return
		}
		defer func() {
			if err := w.Stop(); err != nil {
				t.Error(err)
			}
		}()
		node := w.Node("client")
		conn, err := node.Dial(ctx, client.Options{Logger: dial.NewLogger(zerolog.Nop())})
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		answer := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // in which it tries again
			defer cancel()
			_, err := conn.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "1", TaskQueue: "none"}, "Any")
			answer <- err
		}()
		if err := w.Kill(commit, kept); err != nil {
			t.Error(err)
		}
		told = <-answer == nil
		if err := w.Start(ctx); err != nil {
			t.Error(err)
			return
		}
		_, err = conn.DescribeWorkflowExecution(ctx, "1", "")
		var missing *serviceerror.NotFound
		if there = err == nil; err != nil && !errors.As(err, &missing) {
			t.Error(err)
		}
	})
	return there, told
}
