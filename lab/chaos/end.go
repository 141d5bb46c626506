//go:build unix

package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/sleep"
	"example.com/coffee/internal/text"
)

// longestOrder is how long an order may take from the moment that nothing disturbs it
// any more, whatever state it is in: each step needs all its attempts, each attempt all
// its time, and a refund has just begun its longest pause.
func longestOrder() time.Duration {
	step := time.Duration(0)
	for attempt, pause := 1, coffee.FirstBackoff; attempt <= coffee.MaxAttempts; attempt++ {
		step += coffee.ActivityTimeout
		if attempt < coffee.MaxAttempts {
			step += pause
		}
		pause = min(coffee.BackoffFactor*pause, coffee.MaxBackoff)
	}
	refund := coffee.ActivityTimeout + coffee.MaxRefundBackoff + coffee.ActivityTimeout
	return 3*step + refund + 5*workflowTask
}

func (r *run) patience() time.Duration { return cmp.Or(r.Patience, longestOrder()) }

// workflowTask is for how long a workflow task is lost with its worker: the task's timeout,
// which is Temporal's default, and the schedule-to-start timeout of the sticky queue.
const workflowTask = 10*time.Second + 5*time.Second

// waitForEnd returns when the client has seen the end of every order and has ended, or
// when that has taken too long. What is stuck then is an incident.
func (r *run) waitForEnd(ctx context.Context) error {
	if r.noRefunds.Load() {
		if err := r.waitForRefunds(ctx); err != nil {
			return err
		}
	}
	patient, cancel := context.WithTimeout(ctx, r.patience())
	defer cancel()
	select {
	case <-r.processes[theClient].done:
		if err := r.processes[theClient].failure(); err != nil {
			return err
		}
	case <-r.serverGone():
		return r.processes[theServer].failure()
	case <-patient.Done():
	}
	stuck, err := r.running(patient)
	if err == nil && len(stuck) > 0 && ctx.Err() == nil { // the server may only have been away
		last, cancel := context.WithTimeout(ctx, 15*time.Second)
		defer cancel()
		stuck, err = r.running(last)
	}
	if err := errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	select {
	case <-r.processes[theClient].done:
	default:
		if len(stuck) == 0 {
			r.incidents = append(r.incidents, "all orders have ended, but the client has not")
		}
	}
	for _, id := range stuck {
		r.incidents = append(r.incidents, r.describeStuck(ctx, id))
	}
	if len(stuck) > 0 {
		r.dumpGoroutines()
	}
	return nil
}

// open returns the orders that are not known to have ended. An operator may have reset an
// order after its client was told the end.
func (r *run) open() (map[string]bool, error) {
	all, err := r.reader.Read()
	progress, open := tally(all), map[string]bool{}
	for id := range progress.sent {
		if len(r.touched[id]) > 0 || !progress.ended[id] {
			open[id] = true
		}
	}
	return open, err
}

// running waits until all orders have ended, and returns those that have not when the
// context ends.
func (r *run) running(ctx context.Context) (stuck []string, err error) {
	open, err := r.open()
	if err != nil {
		return nil, err
	}
	for len(open) > 0 {
		conn, err := r.connect(ctx)
		if err == nil {
			orders := desk.NewClient(conn, r.namespace)
			for id := range open {
				if view, err := orders.Describe(ctx, id); errors.Is(err, coffee.ErrNotFound) || err == nil && !view.EndedAt.IsZero() {
					delete(open, id)
				}
			}
			conn.Close()
		}
		if len(open) > 0 && !sleep.For(ctx, 200*time.Millisecond) {
			break
		}
	}
	return slices.Sorted(maps.Keys(open)), nil
}

// describeStuck says what is known of an order that does not end, and leaves its history
// in the run's directory.
func (r *run) describeStuck(ctx context.Context, id string) string {
	what := fmt.Sprintf("order %s has not ended %v after the last fault", id, r.patience())
	conn, err := r.connect(ctx)
	if err != nil {
		return what + "; " + err.Error()
	}
	defer conn.Close()
	history, err := desk.NewClient(conn, r.namespace).History(ctx, id)
	if err != nil {
		return what + "; " + err.Error()
	}
	for _, activity := range history.Pending {
		what += fmt.Sprintf("; %s is %s in attempt %d: %s", activity.GetActivityType().GetName(), activity.GetState(), activity.GetAttempt(),
			text.Printable(activity.GetLastFailure().GetMessage()))
	}
	path := r.path("stuck-" + id + ".json")
	events, err := protojson.Marshal(&historypb.History{Events: history.Events})
	if err := errors.Join(err, os.WriteFile(path, events, 0o600)); err != nil {
		return what + "; " + err.Error()
	}
	return what + "; its history is in " + path + ", and what each process was doing in its log"
}

// dumpGoroutines makes the server and the workers write their goroutines to their logs,
// which ends them.
func (r *run) dumpGoroutines() {
	for i, p := range r.processes {
		if p != nil && i != theClient && i != theBoard {
			r.excuse(i, patience) // it starts again while the server does
			p.signal(syscall.SIGQUIT)
		}
	}
}

// outageExcuse is how long after an outage of the server another process may end
// because of it. A process that was about to start notices at once, and the limit
// for an answer is ten seconds.
const outageExcuse = 12 * time.Second

// excuse is a time in which a process may end by itself, because of a fault.
type excuse struct {
	process     int
	from, until time.Time
}

// excuse excuses a process from now on for the duration of a fault, and what comes of it.
func (r *run) excuse(process int, d time.Duration) {
	r.excuses = append(r.excuses, excuse{process, time.Now(), time.Now().Add(d + outageExcuse)})
}

// isExcused reports whether a process may have ended because it could not reach the
// server, or its database.
func (r *run) isExcused(process int, ended time.Time) bool {
	for _, e := range r.excuses {
		if e.process == process && !ended.Before(e.from) && !ended.After(e.until) {
			return true
		}
	}
	if process == theServer {
		return false
	}
	if r.Cluster == nil {
		return r.outages.during(ended.Add(-outageExcuse), ended)
	}
	return slices.ContainsFunc(r.injected, func(f injectedFault) bool {
		return f.kind == strike && f.when.Before(ended) && ended.Sub(f.when) < strikeExcuse
	})
}
