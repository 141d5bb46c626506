package findings

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/coffee/coffee/audit"
)

// writeAuditMetrics writes what an audit found to a file for the textfile collector of
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
