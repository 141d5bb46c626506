package commands

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
)

// TestStuck: what an order waits for is said once, and no worker is called for while
// workers reconnect.
func TestStuck(t *testing.T) {
	t.Parallel()
	const (
		none = "no worker is polling the task queue coffee-orders: order 7 is waiting for one; start one with: coffee worker"
		away = "the server does not answer: waiting for it; order 7 is recorded there"
		back = "the server is back; its workers reconnect within seconds"
	)
	unavailable := serviceerror.NewUnavailable("gone")
	var s stuck
	for _, step := range []struct {
		second   time.Duration
		noWorker bool
		err      error
		want     string
	}{
		{2, false, nil, ""},
		{4, false, unavailable, away},
		{6, false, context.DeadlineExceeded, ""},
		{8, true, nil, back},
		{10, true, nil, ""},
		{28, true, nil, ""},
		{29, true, nil, none},
		{31, true, nil, ""},
		{33, false, errors.New("something else"), ""},
		{35, false, unavailable, away},
		{37, false, nil, "the server is back"},
	} {
		if got := s.hint(time.Unix(0, 0).Add(step.second*time.Second), step.noWorker, step.err, "7"); got != step.want {
			t.Errorf("after %d s: %q, want %q", step.second, got, step.want)
		}
	}
	var fresh stuck
	if got := fresh.hint(time.Now(), true, nil, "7"); got != none {
		t.Errorf("without a worker: %q", got)
	}
}
