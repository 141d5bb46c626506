package local

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"go.temporal.io/sdk/worker"

	"example.com/coffee/coffee/rollout"
)

// TestVersionWatch: the log hears of a version once when it gets no orders, once when the
// reason changes, and once when it gets some. No answer changes nothing.
func TestVersionWatch(t *testing.T) {
	t.Parallel()
	idle := func(current string) error {
		return &rollout.IdleError{Current: worker.WorkerDeploymentVersion{BuildID: current}}
	}
	var w versionWatch
	type heard struct{ was, changed bool }
	for i, step := range []struct {
		err  error
		want heard
		fit  bool
	}{
		{nil, heard{}, true},
		{idle("v1"), heard{false, true}, false},
		{idle("v1"), heard{true, false}, false},
		{errors.New("no answer"), heard{}, false},
		{idle("v2"), heard{true, true}, false},
		{nil, heard{true, true}, true},
		{nil, heard{}, true},
	} {
		var got heard
		got.was, got.changed = w.set(step.err)
		if !reflect.DeepEqual(got, step.want) || (w.check(context.Background()) == nil) != step.fit {
			t.Errorf("step %d: %+v, ready: %v", i, got, w.check(context.Background()))
		}
	}
}
