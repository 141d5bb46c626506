// Package findings prints what audits and replays have found.
package findings

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/coffee/coffee/audit"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/text"
)

// Verdict returns an error with the exit code 6 if a rule is broken, and another one if an
// order could not be judged.
func Verdict(report *audit.Report) error {
	if len(report.Breaches) == 0 {
		return unreadableOrders(len(report.Unreadable))
	}
	hint := ""
	for _, breach := range report.Breaches {
		if breach.Settleable {
			hint = "refund orders that got no coffee with: coffee audit --repair"
		}
	}
	return &exit.Error{Code: exit.Breach, Err: errors.New(text.Plural(len(report.Breaches), "breach", "breaches")), Hint: hint}
}

// AuditProgress returns a function that shows progress, or nil without a terminal.
func AuditProgress(out *terminal.Output) func(read, known int) {
	if !terminal.IsTerminal(out.Err) {
		return nil
	}
	var shown time.Time
	return func(read, known int) {
		if now := time.Now(); read == known || now.Sub(shown) > 100*time.Millisecond {
			shown = now
			fmt.Fprintf(out.Err, "\r\x1b[Kreading orders: %d of %d", read, known)
		}
		if read == known {
			fmt.Fprint(out.Err, "\r\x1b[K")
		}
	}
}

// PrintAudit prints the report for people.
func PrintAudit(out *terminal.Output, report *audit.Report) {
	orders, ledger := report.Orders, report.Ledger
	var ends []string
	for _, end := range []struct {
		count int
		name  string
	}{
		{orders.Completed, "completed"}, {orders.Cancelled, "cancelled"}, {orders.Failed, "failed"},
		{orders.Invalid, "invalid"}, {orders.Stopped, "stopped from outside"}, {orders.Running, "running"},
	} {
		if end.count > 0 {
			ends = append(ends, fmt.Sprintf("%d %s", end.count, end.name))
		}
	}
	count := fmt.Sprint(orders.Total())
	if len(ends) > 0 {
		count += ": " + strings.Join(ends, ", ")
	}
	out.Line("Orders", "%s", count)
	out.Line("Ledger", "%s, %s, %s; net %s", text.Plural(ledger.Charges, "charge", "charges"),
		text.Plural(ledger.Refunds, "refund", "refunds"), text.Plural(ledger.Voids, "void", "voids"), ledger.NetCents)
	out.Line("Replayed", "%s", text.Plural(report.Replayed, "history", "histories"))
	if report.Acknowledged > 0 {
		out.Line("Acknowledged", "%s", text.Plural(report.Acknowledged, "order", "orders"))
	}
	for _, id := range report.Stuck {
		out.Line("Stuck", "order %s: its worker's code does not fit its history; see coffee replay", text.Printable(id))
	}
	for _, order := range report.Unreadable {
		out.Line("Unreadable", "order %s: %s", text.Printable(order.OrderID), text.Printable(order.Problem))
	}
	for _, repair := range report.Repairs {
		out.Line("Repaired", "order %s: %s; %s", text.Printable(repair.OrderID), text.Printable(repair.Problem), repair.Done)
	}
	for _, breach := range report.Breaches {
		whose := "the ledger"
		if breach.OrderID != "" {
			whose = "order " + text.Printable(breach.OrderID)
		}
		out.Printf("\nBREACH of rule %d: %s\n  %s: %s\n", int(breach.Rule), breach.Rule, whose, text.Printable(breach.Problem))
		for _, evidence := range breach.Evidence {
			out.Printf("    %s\n", text.Printable(evidence))
		}
	}
	switch {
	case len(report.Breaches) > 0:
	case len(report.Unreadable) > 0:
		out.Line("Verdict", "no breach among the orders that can be read")
	default:
		out.Line("Verdict", "no breach")
	}
}

// WriteMetrics writes what an audit found to a file for the textfile collector of
// Prometheus' node_exporter. The file is replaced as a whole. An audit that cannot be
// made leaves the last one's, whose time tells.
func WriteMetrics(path string, report *audit.Report, now time.Time) error {
	registry := prometheus.NewRegistry()
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		vector := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		registry.MustRegister(vector)
		return vector
	}
	breaches := gauge("coffee_audit_breaches", "Breaches of each of the audit's rules.", "rule")
	for _, rule := range audit.Rules() {
		breaches.WithLabelValues(strconv.Itoa(int(rule)))
	}
	for _, breach := range report.Breaches {
		breaches.WithLabelValues(strconv.Itoa(int(breach.Rule))).Inc()
	}
	orders := gauge("coffee_audit_orders", "Orders by how they ended.", "outcome")
	for outcome, count := range map[string]int{
		"completed": report.Orders.Completed, "cancelled": report.Orders.Cancelled, "failed": report.Orders.Failed,
		"invalid": report.Orders.Invalid, "stopped": report.Orders.Stopped, "running": report.Orders.Running,
	} {
		orders.WithLabelValues(outcome).Set(float64(count))
	}
	gauge("coffee_audit_stuck_orders", "Running orders that are stuck in a nondeterminism error.").WithLabelValues().Set(float64(len(report.Stuck)))
	gauge("coffee_audit_unreadable_orders", "Orders that cannot be read, and are not judged.").WithLabelValues().Set(float64(len(report.Unreadable)))
	gauge("coffee_audit_net_cents", "Charges less refunds, in the ledger.").WithLabelValues().Set(float64(report.Ledger.NetCents))
	gauge("coffee_audit_last_run_timestamp_seconds", "When the audit was made.").WithLabelValues().Set(float64(now.Unix()))
	if err := prometheus.WriteToTextfile(path, registry); err != nil {
		return fmt.Errorf("cannot write the audit's metrics: %w", err)
	}
	return nil
}
