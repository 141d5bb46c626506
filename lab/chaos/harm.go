//go:build unix && !noserver

package chaos

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/around"
	"example.com/coffee/internal/sleep"
	"example.com/coffee/lab/inject"
	"example.com/coffee/lab/simulation"
)

// inject injects a fault in virtual time, and reports whether it did.
func (w *world) inject(ctx context.Context, f fault) (done bool, err error) {
	switch f.kind {
	case operator:
		return w.operate(ctx, f)
	case forever:
		return w.loseForever(f), nil
	case kill:
		if f.victim == theServer {
			return true, w.killServer(ctx, f)
		}
	}
	if f.victim == theServer || f.victim == theBoard { // which do not take part in these
		f.victim = worker1 + int(f.detail>>4%2)
	}
	if isWorker(f.victim) && f.victim == w.lost {
		f.victim = partner(f.victim)
	}
	a := w.actors[f.victim]
	if f.kind == freeze && a.charging.Load() == 0 {
		if other := w.actors[partner(f.victim)]; other.charging.Load() > 0 && other.which != w.lost {
			a = other
		} else if time.Now().Before(w.freezeBy) {
			return false, nil
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.node == nil || f.kind != network && a.node.Frozen() {
		return false, nil
	}
	f.victim = a.which
	what := fmt.Sprintf("%-8s %-8s for %4.1f s", f.kind, a.process.name, f.pause.Seconds())
	switch f.kind {
	case kill:
		a.downtime = f.pause
		what += w.killActor(a, f)
	case freeze:
		w.excuse(a.which, f.pause) // it may be about to start
		a.node.Freeze(f.pause)
	case network:
		if a.network != (simulation.Network{}) {
			return false, nil
		}
		what += ": " + f.disturbance().name
		w.excuse(a.which, f.pause)
		w.during(ctx, a, f.pause, func(on bool) {
			a.network = simulation.Network{}
			if on {
				a.network = f.disturbance().network()
			}
			if a.node != nil {
				a.node.Disturb(a.network)
			}
		})
	case storage:
		draw := inject.DrawFaults(f.detail)
		w.excuse(a.which, f.pause)
		w.during(ctx, a, f.pause, func(on bool) { a.storage = map[bool]func() inject.Fault{true: draw}[on] })
	case clock:
		wrong := inject.WrongClock(f.detail)
		w.during(ctx, a, f.pause, func(on bool) { a.clock = map[bool]func() time.Time{true: wrong}[on] })
	}
	w.record(f, what)
	return true, nil
}

// during sets something of an actor, whose lock the caller holds, and resets it after a while.
func (w *world) during(ctx context.Context, a *actor, pause time.Duration, set func(on bool)) {
	set(true)
	w.lasting.Go(func() error {
		sleep.For(ctx, pause)
		a.mu.Lock()
		defer a.mu.Unlock()
		set(false)
		return nil
	})
}

func (d disturbance) network() simulation.Network {
	return simulation.Network{Refuse: d.refuse, Reset: d.reset, NoRequests: d.noRequests, NoReplies: d.noReplies, Resumes: d.resumes, Delay: d.delay, Limit: d.limit}
}

// killServer kills the server while it makes one of the next commits, and starts it again.
func (w *world) killServer(ctx context.Context, f fault) error {
	after, kept := int(f.detail%24), f.detail>>8%2 == 0
	w.outage()
	if err := w.Kill(after, kept); err != nil {
		return err
	}
	w.outage()
	w.record(f, fmt.Sprintf("%-8s %-8s for %4.1f s", f.kind, "server", f.pause.Seconds()))
	sleep.For(ctx, f.pause)
	defer w.outage()
	return w.Start(ctx)
}

// outage records that the server cannot be reached.
func (w *world) outage() {
	w.outages.mu.Lock()
	defer w.outages.mu.Unlock()
	w.outages.times = append(w.outages.times, time.Now())
}

// killActor kills an actor at once, or a worker at one of its next steps. It says which.
func (w *world) killActor(a *actor, f fault) string {
	if at := f.detail % 3; at != 0 && isWorker(a.which) {
		fuse := simulation.Fuse{Report: at == 1, Kept: f.detail>>8%2 == 0}
		node := a.node
		node.Light(fuse)
		time.AfterFunc(time.Second, func() { node.Kill() }) // there may be none
		return fmt.Sprintf(", at its next ledger call or report: %+v", fuse)
	}
	a.node.Kill()
	w.Hit(a.process.name + " killed at once")
	return ""
}

// loseForever begins a fault that stays.
func (w *world) loseForever(f fault) bool {
	a := w.actors[f.victim]
	a.mu.Lock()
	defer a.mu.Unlock()
	what := ""
	switch loss := f.detail % lossCount; {
	case loss == noRefunds:
		what = "the ledger takes no refunds"
		w.noRefunds.Store(true)
	case a.node == nil || a.network != simulation.Network{}:
		return false
	case loss == noFrontend:
		what = fmt.Sprintf("the %s cannot reach the server", a.process.name)
		w.lost, a.network = f.victim, simulation.Network{Refuse: true}
		a.node.Disturb(a.network)
		w.excuse(f.victim, time.Hour)
	default:
		what = fmt.Sprintf("the %s is gone", a.process.name)
		w.lost, a.gone = f.victim, true
		a.node.Kill()
	}
	w.record(f, fmt.Sprintf("%-8s %s", f.kind, what))
	return true
}

// fault draws what goes wrong with a call of the actor's database.
func (a *actor) fault() inject.Fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.storage == nil {
		return 0
	}
	return a.storage()
}

// now is the actor's clock.
func (a *actor) now() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.clock == nil {
		return time.Now()
	}
	return a.clock()
}

// counting counts the charges that are under way.
func (a *actor) counting() *around.Calls {
	return &around.Calls{Activity: func(ctx context.Context, next func(context.Context) (any, error)) (any, error) {
		if activity.GetInfo(ctx).ActivityType.Name == coffee.ActivityChargeCustomer {
			a.charging.Add(1)
			defer a.charging.Add(-1)
		}
		return next(ctx)
	}}
}

// held is a ledger whose calls wait while their node is frozen, and fail when it is dead.
type held struct {
	coffee.Ledger
	node *simulation.Node
}

// Charge implements [coffee.Ledger].
func (l *held) Charge(ctx context.Context, charge coffee.Charge) (entry coffee.Entry, err error) {
	err = l.node.Do(func() (err error) { entry, err = l.Ledger.Charge(ctx, charge); return err })
	return entry, err
}

// Refund implements [coffee.Ledger].
func (l *held) Refund(ctx context.Context, orderID, runID string) (entry coffee.Entry, err error) {
	err = l.node.Do(func() (err error) { entry, err = l.Ledger.Refund(ctx, orderID, runID); return err })
	return entry, err
}

// Deliver implements [coffee.Ledger].
func (l *held) Deliver(ctx context.Context, orderID string) error {
	return l.node.Do(func() error { return l.Ledger.Deliver(ctx, orderID) })
}

// Paid implements [coffee.Ledger].
func (l *held) Paid(ctx context.Context, orderID string) (delivered bool, err error) {
	err = l.node.Do(func() (err error) { delivered, err = l.Ledger.Paid(ctx, orderID); return err })
	return delivered, err
}

// Entries implements [coffee.Ledger].
func (l *held) Entries(ctx context.Context, orderID string) (entries []coffee.Entry, err error) {
	err = l.node.Do(func() (err error) { entries, err = l.Ledger.Entries(ctx, orderID); return err })
	return entries, err
}
