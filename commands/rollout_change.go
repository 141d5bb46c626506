package commands

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/rollout"
	"example.com/coffee/commands/internal/findings"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/sleep"
	"example.com/coffee/internal/text"
)

// change is a change of the versions, as they were when it began.
type change struct {
	out    *terminal.Output
	orders *rollout.Client
	d      rollout.Deployment
	plan   rolloutPlan
	// check replays a history on the workflow that is to take over.
	check func(desk.History) error
}

func (r *change) change(ctx context.Context) error {
	if r.plan.back {
		return r.back(ctx)
	}
	version, err := r.d.Version(r.plan.buildID)
	if err != nil {
		return r.unknown(err, r.plan.buildID)
	}
	switch {
	case r.plan.remove:
		return r.remove(ctx, version)
	case r.plan.moveFrom != "":
		return r.repin(ctx)
	}
	report, err := r.replay(ctx, r.orders.Movable(ctx))
	if err != nil {
		return err
	}
	r.out.Notef("%s would move, and replayed", text.Plural(report.Histories, "order", "orders"))
	return r.move(ctx, version.BuildID, func() error {
		if r.plan.percent < 100 {
			return r.orders.SetRamping(ctx, &r.d, version.BuildID, r.plan.percent)
		}
		if ramping, ok := r.d.Ramping(); ok && ramping.BuildID != version.BuildID {
			r.out.Notef("ending the rollout of %s", text.Printable(ramping.BuildID))
		}
		return r.orders.SetCurrent(ctx, r.d, version.BuildID)
	})
}

// replay replays the orders that would move. It returns an error if one would break.
func (r *change) replay(ctx context.Context, histories iter.Seq2[desk.History, error]) (findings.Replayed, error) {
	report := findings.Replayed{Broken: []findings.Broken{}}
	if err := report.TakeAll(histories, r.check); err != nil {
		return report, err
	}
	if len(report.Broken) > 0 || slices.ContainsFunc(report.Unreadable, func(order findings.UnreadableOrder) bool { return order.Begun }) {
		return report, findings.PrintReplay(r.out, report, r.plan.asJSON)
	}
	for _, order := range report.Unreadable { // whatever version it goes to, it waits for its key
		r.out.Notef("order %s cannot be read, and no worker has begun it: %s", text.Printable(order.OrderID), text.Printable(order.Problem))
	}
	return report, nil
}

// pollsPatience is how long a worker that has just started has to poll for all kinds of
// tasks, and to report.
const pollsPatience = 5 * time.Second

// move changes where orders go, if a worker of the version that gets them polls.
func (r *change) move(ctx context.Context, buildID string, change func() error) error {
	for began := time.Now(); ; {
		var err error
		if !r.plan.force {
			err = r.orders.CheckWorkers(ctx, r.d, buildID)
		}
		if err == nil {
			err = change()
		}
		early := errors.Is(err, rollout.ErrNoWorkers) ||
			err != nil && strings.Contains(err.Error(), "is missing active task queues")
		if early && time.Since(began) <= pollsPatience && sleep.For(ctx, 100*time.Millisecond) {
			continue
		}
		if errors.Is(err, rollout.ErrNoWorkers) {
			return exit.Hinted(fmt.Errorf("orders would wait on version %s: %w", text.Printable(buildID), err), "start one with: "+r.worker(buildID)+"; or insist with --force")
		}
		return err
	}
}

// back ends a ramp, or returns to the version that was current before.
func (r *change) back(ctx context.Context) error {
	if ramping, ok := r.d.Ramping(); ok {
		end := func() error {
			r.out.Notef("ending the rollout of %s", text.Printable(ramping.BuildID))
			return r.orders.SetRamping(ctx, &r.d, "", 0)
		}
		if current, ok := r.d.Current(); ok {
			return r.move(ctx, current.BuildID, end)
		}
		return end()
	}
	previous, err := r.d.Previous()
	if err != nil && len(r.d.Versions) > 1 {
		return exit.Hinted(err, "name the version: coffee rollout BUILD-ID")
	}
	if err != nil {
		return err
	}
	return r.move(ctx, previous.BuildID, func() error {
		r.out.Notef("returning to %s", text.Printable(previous.BuildID))
		return r.orders.SetCurrent(ctx, r.d, previous.BuildID)
	})
}

// repin moves the orders that are pinned to a version to another one.
func (r *change) repin(ctx context.Context) error {
	if _, err := r.d.Version(r.plan.moveFrom); err != nil {
		return r.unknown(err, r.plan.moveFrom)
	}
	var ids []string
	pinned := r.orders.PinnedTo(ctx, r.d, r.plan.moveFrom)
	if _, err := r.replay(ctx, func(yield func(desk.History, error) bool) {
		for history, err := range pinned {
			if err == nil {
				ids = append(ids, history.OrderID)
			}
			if !yield(history, err) {
				return
			}
		}
	}); err != nil {
		return err
	}
	return r.move(ctx, r.plan.buildID, func() error {
		for i, id := range ids {
			if err := r.orders.Repin(ctx, r.d, r.plan.buildID, id); err != nil {
				return fmt.Errorf("%d of %s moved, and order %s did not: %w", i, text.Plural(len(ids), "order", "orders"), text.Printable(id), err)
			}
		}
		r.out.Notef("%s moved from %s to %s", text.Plural(len(ids), "order", "orders"), text.Printable(r.plan.moveFrom), text.Printable(r.plan.buildID))
		return nil
	})
}

// remove deletes a version that is not in use.
func (r *change) remove(ctx context.Context, version rollout.DeployedVersion) error {
	name := text.Printable(version.BuildID)
	err := version.Removable()
	if err == nil {
		err = r.orders.DeleteVersion(ctx, r.d, version.BuildID)
	}
	var inUse *serviceerror.FailedPrecondition
	switch {
	case err == nil:
		r.out.Notef("deleted version %s", name)
		return nil
	case errors.As(err, &inUse):
		return exit.Hinted(err, "stop its workers; the server remembers them for five minutes after their last poll")
	case version.State == "draining":
		return exit.Hinted(fmt.Errorf("version %s cannot be deleted: %w", name, err), "wait until it is drained, or move them: coffee rollout BUILD-ID --move-from "+name)
	}
	return fmt.Errorf("version %s cannot be deleted: %w", name, err)
}

// unknown explains that there is no such version.
func (r *change) unknown(err error, buildID string) error {
	hint := "start one with: " + r.worker(buildID)
	if errors.Is(err, rollout.ErrVersionRefused) {
		hint = fmt.Sprintf("unless it has just started, the deployment has all the versions it may have (%d; matching.maxVersionsInDeployment): delete one with --delete-version", len(r.d.Versions))
	}
	return exit.Hinted(fmt.Errorf("there is no version %s: %w", text.Printable(buildID), err), hint)
}

// worker returns the command that starts a worker of a version.
func (r *change) worker(buildID string) string {
	command := "coffee worker --build-id " + buildID
	if r.d.Name != coffee.DefaultDeployment {
		command += " --deployment " + r.d.Name
	}
	return command
}
