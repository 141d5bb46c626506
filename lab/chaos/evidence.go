//go:build unix

package chaos

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/internal/text"
	"example.com/coffee/lab/chaos/operations"
)

// evidence is what the orders of a run are judged by, besides the auditor's report. It is
// data, whatever the run was made of.
type evidence struct {
	seed       uint64
	operations []operations.Operation
	histories  map[string]*history // by order id
	touched    touched
	faults     []injectedFault
	lost       int // the worker that a fault has taken for good; [theServer] if none
	// workerOf returns the worker that has an identity, [theServer] if none has.
	workerOf func(identity string) int
}

// touched is what an operator has done to orders that changes them, by order id.
type touched map[string][]operations.Kind

// by reports whether an operator has done this to an order.
func (t touched) by(id string, kind operations.Kind) bool { return slices.Contains(t[id], kind) }

// unexcused returns the breaches that no operator is to blame for. A deleted order leaves
// rows of the ledger without a history. One that was terminated is settled by the next
// repair; one that was not, and needs it, has met a fault of the program.
func (t touched) unexcused(report *audit.Report, repaired bool) []audit.Breach {
	return slices.DeleteFunc(slices.Clone(report.Breaches), func(b audit.Breach) bool {
		return b.Rule == audit.RuleOwner && t.by(b.OrderID, operations.Delete) ||
			b.Settleable && !repaired && t.by(b.OrderID, operations.Terminate)
	})
}

// needless reports the orders that a repair has settled although no operator had stopped
// them.
func (t touched) needless(repairs []audit.Repair) (incidents []string) {
	for _, repair := range repairs {
		if !t.by(repair.OrderID, operations.Terminate) {
			incidents = append(incidents, fmt.Sprintf("order %s had to be settled, though no operator had stopped it: %s", repair.OrderID, repair.Problem))
		}
	}
	return incidents
}

// lostCancels reports the cancels that were acknowledged but never arrived. An operator
// who resets an order can leave them out.
func (e *evidence) lostCancels() (incidents []string) {
	for _, op := range e.operations {
		if op.Kind != operations.Cancel || op.Outcome != operations.OK || e.touched.by(op.Order, operations.Delete) || e.touched.by(op.Order, operations.Reset) {
			continue
		}
		if h := e.histories[op.Order]; h == nil || !h.cancelled {
			incidents = append(incidents, "the request to cancel order "+op.Order+" was acknowledged, and is not in its history")
		}
	}
	return incidents
}

// misfits reports the orders that came to a worker whose code did not fit them.
func (e *evidence) misfits() (incidents []string) {
	for _, id := range slices.Sorted(maps.Keys(e.histories)) {
		if e.histories[id].misfit {
			incidents = append(incidents, "the code of a worker did not fit the history of order "+id)
		}
	}
	return incidents
}

// setbacks reports the orders that did not get on as they should. The seed decides which
// attempts to brew jam, and nothing but a fault makes another attempt fail. So each order
// that was accepted is made, unless it is cancelled or each attempt of a step has a reason
// to have failed.
func (e *evidence) setbacks() (incidents []string) {
	for _, id := range slices.Sorted(maps.Keys(e.histories)) {
		h, problem := e.histories[id], ""
		for _, attempt := range h.brewed {
			// After a reset there may be nothing to brew.
			if jams(e.seed, id, attempt) && !e.touched.by(id, operations.Reset) {
				problem = fmt.Sprintf("attempt %d to brew jams, and brewed", attempt)
			}
		}
		for _, step := range h.givenUp {
			if why := e.noReason(id, h, step); why != "" {
				problem = fmt.Sprintf("%s was given up, and %s: %s", step.step, why, text.Printable(step.last.GetMessage()))
			}
		}
		if h.failed && len(h.givenUp) == 0 {
			problem = "it failed, and no step did"
		}
		if problem != "" {
			incidents = append(incidents, "order "+id+" did not get on as it should: "+problem)
		}
	}
	return incidents
}

// noReason says why a step should not have been given up; empty if it had to be.
func (e *evidence) noReason(id string, h *history, step givenUp) string {
	last := step.last.GetApplicationFailureInfo().GetType()
	if last == coffee.ErrorTypeRefused && e.decidedAgain(id, h) {
		return ""
	}
	if last == coffee.ErrorTypeRefused {
		return "no operator had touched the order"
	}
	if step.attempts != coffee.MaxAttempts {
		return fmt.Sprintf("had %d attempts", step.attempts)
	}
	for attempt := 1; attempt <= coffee.MaxAttempts; attempt++ {
		failure := map[int]string{coffee.MaxAttempts - 1: step.before.GetApplicationFailureInfo().GetType(), coffee.MaxAttempts: last}[attempt]
		anyone, from, to := attempt < coffee.MaxAttempts, step.scheduled, step.began
		if !anyone {
			from, to = step.began, step.ended
		}
		switch jammed := step.step == coffee.ActivityBrewCoffee && jams(e.seed, id, attempt); {
		case jammed:
		case failure == coffee.ErrorTypeJammed:
			return fmt.Sprintf("attempt %d does not jam", attempt)
		case !e.disturbed(step, from, to, anyone) && !e.touched.by(id, pause):
			return fmt.Sprintf("no fault hit attempt %d", attempt)
		}
	}
	return ""
}

// decidedAgain reports whether the ledger may know more of an order than its history: it
// was reset, or the server and the ledger went back to a backup, one after the other.
func (e *evidence) decidedAgain(id string, h *history) bool {
	return e.touched.by(id, operations.Reset) || slices.ContainsFunc(e.faults, func(f injectedFault) bool {
		return f.kind == restore && len(h.steps) > 0 && h.steps[0].Before(f.when)
	})
}

// disturbed reports whether a fault hit the server, or the worker of a step's last attempt,
// at some time in between; with anyone, or any worker. An attempt that timed out may have
// been given to a worker that had been gone for some time. An error may come from the
// ledger, which all workers share.
func (e *evidence) disturbed(step givenUp, from, to time.Time, anyone bool) bool {
	slack := outageExcuse
	if !anyone && step.last.GetTimeoutFailureInfo() == nil {
		slack, anyone = time.Second, true
	}
	return slices.ContainsFunc(e.faults, func(f injectedFault) bool {
		lasts := f.pause + slack
		switch f.kind {
		case operator, backUp, rollForward, rollBack:
			return false
		case forever:
			if f.victim != e.lost {
				return false
			}
			lasts = time.Hour
		case strike:
			lasts = strikeExcuse
		}
		hit := f.victim == theServer || isWorker(f.victim) && (anyone || f.victim == e.workerOf(step.worker))
		return hit && f.when.Add(-slack).Before(to) && from.Before(f.when.Add(lasts))
	})
}
