//go:build unix

package chaos

import (
	"context"
	"errors"
	"slices"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/commands/internal/release"
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
	// CarriedOver is how often the server's database was carried over from an older
	// version, and RolledOut how often a release of the workers became current.
	CarriedOver int `json:"carried_over,omitempty"`
	RolledOut   int `json:"rolled_out,omitempty"`
	// LateCharges is how many charges went on after their attempt had been given
	// up, and LateRefused how many of them the ledger refused.
	LateCharges int           `json:"late_charges"`
	LateRefused int           `json:"late_charges_refused"`
	Recovery    Recovery      `json:"recovery"`
	Audit       *audit.Report `json:"audit"`
	// Incidents are what the client saw and should not have seen, orders whose
	// end it never saw, cancels that were acknowledged and lost, workers that did
	// nothing, and processes that ended by themselves or did not stop.
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

// report collects the outcome from the journal, the processes and the auditor.
func (r *run) report(ctx context.Context) (*Report, error) {
	report := &Report{Seed: r.Seed, Incidents: []string{}}
	sent, err1 := r.lines(journalSent)
	acknowledged, err2 := r.lines(journalAcknowledged)
	ended, err3 := r.lines(journalEnded)
	breaches, err4 := r.lines(journalBreaches)
	cancelled, err5 := r.lines(journalCancelled)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, err
	}
	report.Sent, report.Acknowledged = len(sent), len(acknowledged)
	report.Incidents = append(report.Incidents, breaches...)
	for _, id := range sent {
		if !slices.Contains(ended, id) {
			report.Incidents = append(report.Incidents, "order "+id+" was sent, but the client never saw it end")
		}
	}
	for _, fault := range r.injected {
		switch {
		case fault.kind == carryOver: // counted by what came of it
		case fault.kind == strike:
			report.Strikes++
		case fault.kind == freeze:
			report.Freezes++
		case fault.victim == theServer:
			report.KillsOfServer++
		case fault.victim == theClient:
			report.KillsOfClient++
		default:
			report.KillsOfWorkers++
		}
	}
	conn, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	book, err := audit.OpenBook(ctx, r.ledger)
	if err != nil {
		return nil, err
	}
	defer book.Close()
	options := audit.Options{Client: conn, Namespace: r.namespace, Book: book, Acknowledged: acknowledged}
	if r.MakeOlder != nil { // the patched release goes on with orders of the first one, too
		options.Replay = release.Named(release.Patched).Replay
	}
	report.Audit, err = audit.Run(ctx, options)
	if err != nil {
		return nil, err
	}
	histories, err := readHistories(ctx, coffee.NewClient(conn, r.namespace), acknowledged)
	if err != nil {
		return nil, err
	}
	report.Recovery = r.recovery(histories)
	report.Incidents = append(report.Incidents, lostCancels(histories, cancelled)...)
	report.Incidents = append(report.Incidents, misfits(histories)...)
	report.Incidents = append(report.Incidents, r.idleWorkers(histories)...)
	report.RolledOut = len(r.releases)
	var missing []string
	if report.CarriedOver, missing, err = r.carriedOver(); err != nil {
		return nil, err
	}
	report.Incidents = append(report.Incidents, missing...)
	report.LateCharges, report.LateRefused, err = r.lateCharges()
	return report, err
}
