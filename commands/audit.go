package commands

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
)

func auditCommand(out *output) *cli.Command {
	return &cli.Command{
		Name:  "audit",
		Usage: "check that no order was lost and nobody was charged wrongly",
		Description: "Reads the ledger and the history of every order, replays each history, and compares. It changes nothing, " +
			"unless --repair is given. The exit code is 0 if all is well, and 6 if a rule is broken.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "acknowledged", Usage: "`FILE` of ids, one per line, of orders that were accepted: they must exist, and have ended"},
			&cli.BoolFlag{Name: "repair", Usage: "settle what can be settled: give back what was charged for orders that were stopped from outside"},
			outputFlag(),
			ledgerFlag(""),
		}, connectFlags()),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			return runAudit(ctx, cmd, out)
		},
	}
}

func runAudit(ctx context.Context, cmd *cli.Command, out *output) error {
	asJSON, err := wantsJSON(cmd)
	if err != nil {
		return err
	}
	var acknowledged []string
	if path := cmd.String("acknowledged"); path != "" {
		if acknowledged, err = readIDs(path); err != nil {
			return err
		}
	}
	conn, err := out.connect(ctx, cmd)
	if err != nil {
		return err
	}
	defer conn.Close()
	where, err := whichLedger(ctx, cmd, conn)
	if err != nil {
		return err
	}
	if _, err := os.Stat(where); err != nil && !isPostgres(where) {
		return &hintedError{fmt.Errorf("there is no ledger %s", where), "choose the ledger that the workers write to with --ledger"}
	}
	book, err := audit.OpenBook(ctx, where)
	if err != nil {
		return &hintedError{err, "choose the ledger that the workers write to with --ledger"}
	}
	defer book.Close()
	options := audit.Options{
		Client:       conn.Client,
		Namespace:    conn.namespace,
		Book:         book,
		Acknowledged: acknowledged,
		Progress:     out.auditProgress(),
	}
	if cmd.Bool("repair") {
		if options.Repair, err = coffee.OpenExistingLedger(ctx, where); err != nil {
			return err
		}
		defer options.Repair.Close()
	}
	report, err := audit.Run(ctx, options)
	if err != nil {
		return err
	}
	if asJSON {
		err = out.json(report)
	} else {
		out.auditReport(report)
	}
	if err != nil {
		return err
	}
	return verdict(report)
}

// verdict is an error with the exit code 6 if a rule is broken.
func verdict(report *audit.Report) error {
	if len(report.Breaches) == 0 {
		return nil
	}
	hint := ""
	for _, breach := range report.Breaches {
		if breach.Settleable {
			hint = "coffee audit --repair gives back what was charged for orders without a coffee"
		}
	}
	return &exitError{code: exitBreach, message: plural(len(report.Breaches), "breach", "breaches"), hint: hint}
}

// auditProgress shows on a terminal how far the audit is.
func (o *output) auditProgress() func(read, known int) {
	if !isTerminal(o.err) {
		return nil
	}
	var shown time.Time
	return func(read, known int) {
		if now := time.Now(); read == known || now.Sub(shown) > 100*time.Millisecond {
			shown = now
			fmt.Fprintf(o.err, "\r\x1b[Kreading orders: %d of %d", read, known)
		}
		if read == known {
			fmt.Fprint(o.err, "\r\x1b[K")
		}
	}
}

// auditReport prints the report for people.
func (o *output) auditReport(report *audit.Report) {
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
	line := func(name, text string) { o.printf("%-12s %s\n", name, text) }
	text := fmt.Sprint(orders.Total())
	if len(ends) > 0 {
		text += ": " + strings.Join(ends, ", ")
	}
	line("Orders", text)
	line("Ledger", fmt.Sprintf("%s, %s, %s; net %s", plural(ledger.Charges, "charge", "charges"),
		plural(ledger.Refunds, "refund", "refunds"), plural(ledger.Voids, "void", "voids"), ledger.NetCents))
	line("Replayed", plural(report.Replayed, "history", "histories"))
	if report.Acknowledged > 0 {
		line("Acknowledged", plural(report.Acknowledged, "order", "orders"))
	}
	for _, repair := range report.Repairs {
		line("Repaired", fmt.Sprintf("order %s: %s; %s", coffee.Printable(repair.OrderID), coffee.Printable(repair.Problem), repair.Done))
	}
	for _, breach := range report.Breaches {
		whose := "the ledger"
		if breach.OrderID != "" {
			whose = "order " + coffee.Printable(breach.OrderID)
		}
		o.printf("\nBREACH of rule %d: %s\n  %s: %s\n", int(breach.Rule), breach.Rule, whose, coffee.Printable(breach.Problem))
		for _, evidence := range breach.Evidence {
			o.printf("    %s\n", coffee.Printable(evidence))
		}
	}
	if len(report.Breaches) == 0 {
		line("Verdict", "no breach")
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// readIDs reads a file of order ids, one per line. Empty lines are passed over.
func readIDs(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var ids []string
	scanner := bufio.NewScanner(file)
	for number := 1; scanner.Scan(); number++ {
		id := strings.TrimSpace(scanner.Text())
		if id == "" {
			continue
		}
		if err := coffee.ValidateOrderID(id); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, number, err)
		}
		ids = append(ids, id)
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ids, nil
}
