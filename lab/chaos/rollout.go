//go:build unix

package chaos

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/rollout"
	"example.com/coffee/internal/sleep"
	"example.com/coffee/lab/powerfailure"
)

// The releases of the workers in a run with upgrades. The next one has another step in
// the middle, patched. Orders are pinned to the release that they began on: no going
// back could help those that have taken the step.
const (
	firstRelease = "v1"
	nextRelease  = "v2"
)

// rollOut begins to make a release current, while other faults are injected. It waits for
// the rollout before.
func (r *run) rollOut(ctx context.Context, buildID string) error {
	var err error
	for _, which := range []int{worker3, worker4} {
		if r.processes[which] == nil {
			err = errors.Join(err, r.startWorker(which, nextRelease))
		}
	}
	before, done := r.rolledOut, make(chan struct{})
	r.rolledOut, r.wanted = done, buildID
	r.lasting.Go(func() error {
		defer close(done)
		if before != nil {
			<-before
		}
		return r.setCurrent(ctx, buildID)
	})
	return err
}

// setCurrent makes a release current, however often the server goes away meanwhile. If
// it was killed in the middle of this, Temporal takes a minute to try again: that is how
// long its own activity, which was lost, may take. On a busy machine it can be killed
// several times.
func (r *run) setCurrent(ctx context.Context, buildID string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*patience)
	defer cancel()
	for {
		err := r.trySetCurrent(ctx, buildID)
		if err == nil {
			r.rollouts++
			r.say("rolled out %s", buildID)
			return nil
		}
		if !sleep.For(ctx, 100*time.Millisecond) {
			return fmt.Errorf("cannot roll out %s: %w", buildID, err)
		}
	}
}

func (r *run) trySetCurrent(ctx context.Context, buildID string) error {
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	orders := rollout.New(desk.NewClient(conn, r.namespace))
	d, err := orders.Deployment(ctx, coffee.DefaultDeployment)
	if err != nil {
		return err
	}
	if current, ok := d.Current(); ok && current.BuildID == buildID { // an answer was lost
		return nil
	}
	return orders.SetCurrent(ctx, d, buildID)
}

// makeOlder makes the database of the server, which is down, that of an older one.
func (r *run) makeOlder(ctx context.Context) error {
	if err := makeOlder(ctx, r.path(database)); err != nil || !r.has(power) {
		return err
	}
	return powerfailure.Adopt(r.path(recordings), r.path(database))
}

// carriedOver counts the upgrades of the server's database by the old ones that were
// kept, and reports those that are missing.
func (r *run) carriedOver() (count int, incidents []string, err error) {
	want := 0
	for _, fault := range r.injected {
		if fault.kind == carryOver {
			want++
		}
	}
	kept, err := filepath.Glob(r.path(database + ".before-*"))
	if len(kept) != want {
		incidents = append(incidents, fmt.Sprintf("the server's database was carried over %d times, and should have been %d times", len(kept), want))
	}
	return len(kept), incidents, err
}
