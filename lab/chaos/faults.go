//go:build unix

package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"time"

	"example.com/coffee/internal/sleep"
	"example.com/coffee/internal/text"
)

// injectedFault is a fault and the time at which it was injected.
type injectedFault struct {
	fault
	when time.Time
}

// injectAll executes the schedule: each fault once its share of the orders has been
// sent.
func (r *run) injectAll(ctx context.Context) error {
	for _, fault := range r.schedule() {
		known, last := -1, time.Now()
		r.freezeBy = time.Time{}
		for {
			all, err := r.reader.Read()
			if err != nil {
				return err
			}
			sent := len(tally(all).sent)
			if sent > known {
				known, last = sent, time.Now()
			}
			if float64(sent) >= fault.at*float64(r.Orders) {
				if r.freezeBy.IsZero() {
					r.freezeBy = time.Now().Add(freezePatience)
				}
				if done, err := r.inject(ctx, fault); err != nil || done {
					if err != nil {
						return err
					}
					break
				}
			}
			select {
			case <-r.processes[theClient].done:
				return nil // all orders have ended: there is nothing left to disturb
			case <-r.serverGone():
				return r.processes[theServer].failure()
			default:
			}
			if time.Since(last) > patience {
				return r.nothingMoves(fault)
			}
			if !sleep.For(ctx, 20*time.Millisecond) {
				return ctx.Err()
			}
		}
	}
	return nil
}

// schedule returns the faults. In a cluster, strikes take the place of the server's
// kills, and workers get the rest of what would hit the server.
func (r *run) schedule() []fault {
	faults := schedule(r.Seed, r.Kills, r.Faults)
	for i := range faults {
		switch f := &faults[i]; {
		case r.Ledger != "" && (f.kind == backUp || f.kind == restore):
			f.kind = operator // its files are not at hand
		case r.Cluster == nil:
		case f.victim != theServer || f.kind == operator:
		case f.kind == kill && r.Cluster.Strike != "":
			f.kind = strike
		default:
			f.victim = worker1 + i%2
		}
	}
	if r.Only == nil {
		return faults
	}
	some := []fault{}
	for _, i := range r.Only {
		if i < len(faults) {
			some = append(some, faults[i])
		}
	}
	return some
}

func (r *run) nothingMoves(f fault) error {
	victim := r.processes[f.victim]
	if victim == nil {
		return errors.New("nothing moves any more, or a strike does not end")
	}
	return errors.Join(fmt.Errorf("nothing moves any more, or the %s is down for good", victim.name), victim.failure())
}

// inject injects a fault, and reports whether it did: the victim may be down, or a
// freeze may still be waiting for a charge.
func (r *run) inject(ctx context.Context, f fault) (done bool, err error) {
	if r.world != nil {
		return r.world.inject(ctx, f)
	}
	switch f.kind {
	case rollForward:
		return true, r.rollOut(ctx, nextRelease)
	case rollBack:
		return true, r.rollOut(ctx, firstRelease)
	case strike:
		return r.strike(ctx, f), nil
	case backUp:
		return r.backUp(ctx, f)
	case restore:
		return r.restore(ctx, f)
	case power:
		return r.powerFailure(ctx, f)
	case forever:
		return r.lose(f), nil
	case operator:
		return r.operate(ctx, f)
	case network:
		return r.disturb(ctx, f), nil
	}
	return r.hit(ctx, f), nil
}

// hit injects a fault that is a signal to a process, or a restart of it.
func (r *run) hit(ctx context.Context, f fault) bool {
	f.victim = r.present(f.victim)
	if isWorker(f.victim) && r.processes[f.victim].isFrozen() { // it must wake up again
		if other := r.present(partner(f.victim)); other != r.lost {
			f.victim = other
		}
	}
	// A zombie is most dangerous in the middle of a charge.
	if f.kind == freeze && !r.charging(f.victim) {
		others := r.workers()
		i := slices.IndexFunc(others, func(other int) bool { return other != f.victim && other != r.lost && r.charging(other) })
		if i < 0 && time.Now().Before(r.freezeBy) {
			return false
		}
		if i >= 0 {
			f.victim = others[i]
		}
	}
	victim := r.processes[f.victim]
	how, pid := "for %4.1f s", 0
	switch f.kind {
	case freeze:
		pid = victim.freeze(f.pause)
	case carryOver:
		if !r.answers(ctx) {
			return false // the one before has to be over
		}
		how = "and kill it after %.1f s"
		pid = victim.restart(restart{prepare: func() error { return r.makeOlder(ctx) }, killAfter: f.pause})
	case storage, clock:
		pid = victim.restart(restart{env: r.injection(victim, fmt.Sprintf("%s=%d", f.kind, f.detail)), killAfter: f.pause})
		r.excuse(f.victim, f.pause)
	default:
		pid = victim.kill(f.pause)
	}
	if pid == 0 {
		return false
	}
	r.record(f, fmt.Sprintf("%-8s %-8s "+how, f.kind, victim.name, f.pause.Seconds()))
	return true
}

// present returns a worker in place of one that is lost for good, or that has not been
// started.
func (r *run) present(victim int) int {
	if isWorker(victim) && r.processes[victim] == nil {
		victim -= worker3 - worker1
	}
	if isWorker(victim) && victim == r.lost {
		victim = partner(victim)
	}
	return victim
}

// record records that a fault was injected.
func (r *run) record(f fault, what string) {
	r.injected = append(r.injected, injectedFault{fault: f, when: time.Now()})
	all, _ := r.reader.Read() // only for the message
	progress := tally(all)
	r.say("%s; %d of %d orders sent, %d ended", what, len(progress.sent), r.Orders, len(progress.ended))
}

// strikeExcuse is how long after a strike another process may end because of it.
const strikeExcuse = time.Minute

// strike begins to run the command that does harm to the cluster, while other faults are
// injected. It reports whether it has: one strike has to end before the next.
func (r *run) strike(ctx context.Context, f fault) bool {
	began := r.strikes.TryGo(func() error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", r.Cluster.Strike)
		cmd.Env, cmd.WaitDelay = r.env, time.Second
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("the strike failed: %w: %s", err, bytes.TrimSpace(out))
		}
		line, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
		r.say("struck  %s", text.Printable(string(line)))
		return nil
	})
	if began {
		r.record(f, "strike  cluster")
	}
	return began
}

// freezePatience is how long a freeze waits for its victim to begin a charge.
const freezePatience = 3 * time.Second

var chargeInLog = regexp.MustCompile(`(charging|charged|charge stopped|late charge refused|charge not made)\b.*\border_id=(\S+)`)

// charging reports whether a worker's log says that a charge is under way. One that is
// frozen or down goes on with none.
func (r *run) charging(worker int) bool {
	p := r.processes[worker]
	p.mu.Lock()
	start, works := p.logStart, p.cmd != nil && p.frozen == 0
	p.mu.Unlock()
	if !works {
		return false
	}
	log, err := os.ReadFile(p.log)
	if err != nil || start > int64(len(log)) {
		return false
	}
	underWay := map[string]bool{}
	for _, line := range chargeInLog.FindAllSubmatch(log[start:], -1) {
		underWay[string(line[2])] = string(line[1]) == "charging"
	}
	return slices.Contains(slices.Collect(maps.Values(underWay)), true)
}
