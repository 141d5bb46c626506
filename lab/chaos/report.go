//go:build unix

package chaos

import (
	"context"
	"maps"
	"slices"

	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee/audit"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/release"
	"example.com/coffee/lab/chaos/operations"
)

// Report is the outcome of a run.
type Report struct {
	Seed           uint64 `json:"seed"`
	Sent           int    `json:"sent"`
	Acknowledged   int    `json:"acknowledged"`
	KillsOfServer  int    `json:"kills_of_server"`
	KillsOfWorkers int    `json:"kills_of_workers"`
	KillsOfClient  int    `json:"kills_of_client"`
	Strikes        int    `json:"strikes,omitempty"` // at a cluster
	Freezes        int    `json:"freezes"`
	// Faults counts the others that were injected, by kind.
	Faults map[string]int `json:"faults,omitempty"`
	// WritesLost counts what power failures lost, of what was not synced, and WritesTorn
	// what they left in part.
	WritesLost int `json:"writes_lost,omitempty"`
	WritesTorn int `json:"writes_torn,omitempty"`
	// CarriedOver is how often the server's database was carried over from an older
	// version, and RolledOut how often a release of the workers became current.
	CarriedOver int `json:"carried_over,omitempty"`
	RolledOut   int `json:"rolled_out,omitempty"`
	// LateCharges is how many charges went on after their attempt had been given
	// up, and LateRefused how many of them the ledger refused.
	LateCharges int `json:"late_charges"`
	LateRefused int `json:"late_charges_refused"`
	// Operations is how many operations of clients and operators there were, and
	// Unexplained of how many orders they are not linearizable, or not known to be.
	Operations  int           `json:"operations"`
	Unexplained int           `json:"unexplained"`
	Recovery    Recovery      `json:"recovery"`
	Audit       *audit.Report `json:"audit"`
	// Incidents are what the clients were told and cannot have been so, orders that do not
	// end or fail for no reason, cancels that were acknowledged and lost, workers that did nothing,
	// processes that ended by themselves or did not stop, and a board that was wrong.
	Incidents []string `json:"incidents"`
	Seconds   float64  `json:"seconds"`
}

// Recovery is the time from a fault until a worker had taken an order in progress
// one step further, in seconds. It includes the time of the step itself. An order
// counts once for each fault that it lived through.
type Recovery struct {
	Orders int     `json:"orders"`
	P50    float64 `json:"p50_seconds"`
	P99    float64 `json:"p99_seconds"`
	Max    float64 `json:"max_seconds"`
}

// Kills is how many processes were killed.
func (r *Report) Kills() int { return r.KillsOfServer + r.KillsOfWorkers + r.KillsOfClient }

// Breaches is how many things are wrong, by the audit and by what was seen from outside.
func (r *Report) Breaches() int { return len(r.Audit.Breaches) + len(r.Incidents) }

// report collects the outcome from the journal, the processes and the auditor.
func (r *run) report(ctx context.Context) (*Report, error) {
	all, err := r.reader.Read()
	if err != nil {
		return nil, err
	}
	progress := tally(all)
	report := &Report{Seed: r.Seed, Incidents: []string{}, Sent: len(progress.sent), Acknowledged: len(progress.acknowledged),
		WritesLost: r.losses.Lost, WritesTorn: r.losses.Torn}
	r.count(report)
	incidents, err := r.unexplained(all)
	if err != nil {
		return nil, err
	}
	report.Incidents = append(report.Incidents, incidents...)
	report.Operations, report.Unexplained = len(all), len(incidents)

	conn, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	acknowledged := slices.DeleteFunc(slices.Sorted(maps.Keys(progress.acknowledged)), r.deleted)
	if report.Audit, err = r.audit(ctx, conn, acknowledged); err != nil {
		return nil, err
	}
	histories, err := readHistories(ctx, desk.NewClient(conn, r.namespace), acknowledged)
	if err != nil {
		return nil, err
	}
	report.Recovery = r.recovery(histories)
	e := &evidence{r.Seed, all, histories, r.touched, slices.Concat(r.injected, r.restarts), r.lost, r.workerOf}
	for _, found := range [][]string{e.lostCancels(), e.misfits(), e.setbacks(), r.idleWorkers(histories)} {
		report.Incidents = append(report.Incidents, found...)
	}
	report.RolledOut = r.rollouts
	var missing []string
	if report.CarriedOver, missing, err = r.carriedOver(); err != nil {
		return nil, err
	}
	report.Incidents = append(report.Incidents, missing...)
	report.LateCharges, report.LateRefused, err = r.lateCharges()
	return report, err
}

// count counts the faults that were injected.
func (r *run) count(report *Report) {
	for _, fault := range r.injected {
		switch {
		case fault.kind == carryOver: // counted by what came of it
		case fault.kind == strike:
			report.Strikes++
		case fault.kind == freeze:
			report.Freezes++
		case fault.kind != kill:
			if report.Faults == nil {
				report.Faults = map[string]int{}
			}
			report.Faults[fault.kind.String()]++
		case fault.victim == theServer:
			report.KillsOfServer++
		case fault.victim == theClient:
			report.KillsOfClient++
		default:
			report.KillsOfWorkers++
		}
	}
}

// audit audits all orders, and once more after what an operator stopped was settled, twice
// at once.
func (r *run) audit(ctx context.Context, conn client.Client, acknowledged []string) (*audit.Report, error) {
	book, err := audit.OpenBook(ctx, r.ledger)
	if err != nil {
		return nil, err
	}
	defer book.Close()
	options := audit.Options{Client: conn, Namespace: r.namespace, Book: book, Acknowledged: acknowledged}
	if r.has(carryOver) { // the patched release goes on with orders of the first one, too
		options.Replay = release.Named(release.Patched).Replay
	}
	report, err := audit.Run(ctx, options)
	if err == nil && r.has(operator) {
		r.judge(report, false)
		if _, err := r.repairTwice(ctx, conn, "", fault{}); err != nil {
			return nil, err
		}
		report, err = audit.Run(ctx, options)
	}
	if err != nil {
		return nil, err
	}
	r.judge(report, r.has(operator))
	report.Breaches = append([]audit.Breach{}, r.breaches...)
	return report, nil
}

// judge keeps what an audit has found that no operator is to blame for. The audit came
// after a repair, or had to find what is to be repaired.
func (r *run) judge(report *audit.Report, repaired bool) {
	r.incidents = append(r.incidents, r.touched.needless(report.Repairs)...)
	for _, breach := range r.touched.unexcused(report, repaired) {
		if !slices.ContainsFunc(r.breaches, func(b audit.Breach) bool {
			return b.Rule == breach.Rule && b.OrderID == breach.OrderID && b.Problem == breach.Problem
		}) {
			r.breaches = append(r.breaches, breach)
		}
	}
}

// deleted reports whether an operator has deleted an order.
func (r *run) deleted(id string) bool { return r.touched.by(id, operations.Delete) }
