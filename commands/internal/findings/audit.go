// Package findings prints what audits and replays have found.
package findings

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/coffee/coffee/audit"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/text"
)

// Verdict returns an error with the exit code 6 if a rule is broken, and another one if an
// order could not be judged.
func Verdict(report *audit.Report) error {
	switch {
	case len(report.Breaches) > 0:
	case len(report.Unreadable) > 0:
		return unreadableOrders(len(report.Unreadable))
	default:
		return nil
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
