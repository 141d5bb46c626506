//go:build unix

package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	workflowpb "go.temporal.io/api/workflow/v1"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/sleep"
)

// Permanent faults. Unaffected orders must finish; blocked ones must say why, and must not
// retry in a tight loop.
const (
	noWorker   = iota // a worker is gone
	noFrontend        // a worker cannot reach the server
	noRefunds         // the ledger takes no refunds
	lossCount
)

// lose begins a fault that stays. It reports whether it has: a wire may be disturbed.
func (r *run) lose(f fault) bool {
	f.victim = r.present(f.victim)
	what := ""
	switch loss := f.detail % lossCount; {
	case loss == noRefunds:
		what = "the ledger takes no refunds"
		r.refuseRefunds(true)
	case loss == noFrontend && r.wires[f.victim] != nil:
		if !r.wires[f.victim].begin(disturbance{refuse: true}) {
			return false
		}
		what = fmt.Sprintf("the %s cannot reach the server", r.processes[f.victim].name)
		r.lost = f.victim
		r.excuse(f.victim, time.Hour)
	default:
		what = fmt.Sprintf("the %s is gone", r.processes[f.victim].name)
		r.lost = f.victim
		r.processes[f.victim].lose()
	}
	r.record(f, fmt.Sprintf("%-8s %s", f.kind, what))
	return true
}

// refuseRefunds makes the ledger of all workers refuse refunds from now on, or take them
// again.
func (r *run) refuseRefunds(refuse bool) {
	r.noRefunds.Store(refuse)
	for _, i := range r.workers() {
		p := r.processes[i]
		p.mu.Lock()
		p.env = slices.Concat(r.env, r.injection(p))
		p.mu.Unlock()
		p.kill(restartPause)
		r.restarts = append(r.restarts, injectedFault{fault{kind: kill, victim: i}, time.Now()})
	}
}

// waitForRefunds waits until all that is left are orders that wait for their refund, and
// reports those that do not say so, or ask for it too often. Then refunds are possible
// again.
func (r *run) waitForRefunds(ctx context.Context) error {
	patient, cancel := context.WithTimeout(ctx, r.patience())
	defer cancel()
	for {
		waiting, others, err := r.unrefunded(patient)
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if others == 0 || !sleep.For(patient, 500*time.Millisecond) {
			for id, wait := range waiting {
				// An attempt that an operator has ended did not fail.
				if problem := wait.problem(); problem != "" && !r.touched.by(id, pause) {
					r.incidents = append(r.incidents, "order "+id+" waits for its refund, and "+problem)
				}
			}
			r.say("%d orders wait for their refund, %d for something else; the ledger takes refunds again", len(waiting), others)
			r.refuseRefunds(false)
			return nil
		}
	}
}

// unrefunded returns the orders that have not ended: what those that wait for their
// refund are waiting for, by order, and how many others there are.
func (r *run) unrefunded(ctx context.Context) (waiting map[string]wait, others int, err error) {
	open, err := r.open()
	if err != nil {
		return nil, 0, err
	}
	conn, err := r.connect(ctx)
	if err != nil {
		return nil, len(open), nil // the server is away
	}
	defer conn.Close()
	orders, waiting := desk.NewClient(conn, r.namespace), map[string]wait{}
	for id := range open {
		history, err := orders.History(ctx, id)
		switch {
		case errors.Is(err, coffee.ErrNotFound) || err == nil && !history.Running():
		case err != nil || len(history.Pending) != 1 || history.Pending[0].GetActivityType().GetName() != coffee.ActivityRefundCustomer:
			others++
		default:
			waiting[id] = wait{history.Pending[0], history.ReadAt.Sub(scheduledAt(history, history.Pending[0].GetActivityId()))}
		}
	}
	return waiting, others, nil
}

// wait is a step that an order waits for, and how long it has done so.
type wait struct {
	*workflowpb.PendingActivityInfo
	since time.Duration
}

// problem returns what is wrong with how an order waits; empty if nothing is.
func (w wait) problem() string {
	// The server counts the attempt that is to come, and one that it has handed out twice
	// because of another fault.
	attempts, pause := int32(2), coffee.FirstBackoff
	for elapsed := pause; elapsed <= w.since; elapsed += pause {
		attempts++
		pause = min(coffee.BackoffFactor*pause, coffee.MaxRefundBackoff)
	}
	switch {
	case w.GetAttempt() > 2*attempts:
		return fmt.Sprintf("has asked for it %d times in %v", w.GetAttempt(), w.since)
	case w.GetAttempt() > 1 && w.GetLastFailure().GetMessage() == "":
		return "does not say why"
	}
	return ""
}

// scheduledAt returns when a step was scheduled.
func scheduledAt(history desk.History, activityID string) time.Time {
	for _, event := range history.Events {
		if event.GetActivityTaskScheduledEventAttributes().GetActivityId() == activityID {
			return event.GetEventTime().AsTime()
		}
	}
	return history.ReadAt
}
