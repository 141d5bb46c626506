package commands

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/findings"
	"example.com/coffee/commands/internal/ledgers"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/exit"
)

func auditCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:  "audit",
		Usage: "check that no order was lost and every charge is right",
		Description: "Compares the ledger with the history of every order, and replays each history. It changes nothing " +
			"unless --repair is given. It names the orders that it cannot read, and judges the others. " +
			"The exit code is 6 if a rule is broken, and 1 if an order cannot be read.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "acknowledged", Usage: "`FILE` with the ids of orders that clients were told are accepted, one per line: each must exist and have ended"},
			&cli.StringFlag{Name: "metrics-file", Usage: "also write the outcome to `FILE`, for Prometheus' node_exporter (its textfile collector)"},
			&cli.BoolFlag{Name: "repair", Usage: "refund or void orders that were terminated or timed out without a coffee"},
			commandline.OutputFlag(),
			ledgers.Flag(""),
		}, connect.Flags()),
		Action: run(a, parseAudit, runAudit),
	}
}

type auditPlan struct {
	server       connect.Options
	ledger       ledgers.Choice
	acknowledged []string
	repair       bool
	asJSON       bool
	metricsFile  string // empty means none
}

func parseAudit(c *cli.Context) (plan auditPlan, err error) {
	plan = auditPlan{repair: c.Bool("repair"), metricsFile: c.String("metrics-file"), asJSON: commandline.WantsJSON(c)}
	if path := c.String("acknowledged"); path != "" {
		if plan.acknowledged, err = readIDs(path); err != nil {
			return plan, err
		}
	}
	if plan.ledger, err = ledgers.Parse(c); err != nil {
		return plan, err
	}
	plan.server, err = connect.Parse(c)
	return plan, err
}

func runAudit(ctx context.Context, a *app.App, plan auditPlan) error {
	conn, err := connect.Open(ctx, a, plan.server)
	if err != nil {
		return err
	}
	defer conn.Close()
	where, err := ledgers.Path(ctx, a, plan.ledger, conn)
	if err != nil {
		return err
	}
	const hint = "name the ledger that the workers write to with --ledger"
	if _, err := os.Stat(where); err != nil && !ledgers.IsPostgres(where) {
		return exit.Hinted(fmt.Errorf("there is no ledger %s", where), hint)
	}
	book, err := audit.OpenBook(ctx, where)
	if err != nil {
		return exit.Hinted(err, hint)
	}
	defer book.Close()
	if err := ledger.CheckOwner(ctx, conn.Orders().Client, book.ID(), book.Owner()); err != nil {
		return err
	}
	options := audit.Options{
		Client:       conn.Client,
		Namespace:    conn.Namespace,
		Book:         book,
		Acknowledged: plan.acknowledged,
		Replay:       a.Replay(),
		Progress:     findings.AuditProgress(a.Out),
	}
	if plan.repair {
		if options.Repair, err = ledger.OpenExisting(ctx, where); err != nil {
			return err
		}
		defer options.Repair.Close()
	}
	report, err := audit.Run(ctx, options)
	if err != nil {
		return err
	}
	if plan.metricsFile != "" {
		if err := findings.WriteMetrics(plan.metricsFile, report, time.Now()); err != nil {
			return err
		}
	}
	if err := a.Out.Show(plan.asJSON, report, func(out *terminal.Output) { findings.PrintAudit(out, report) }); err != nil {
		return err
	}
	return findings.Verdict(report)
}

// readIDs reads a file of order ids, one per line. It skips empty lines.
func readIDs(path string) ([]string, error) {
	list, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var ids []string
	for i, line := range strings.Split(string(list), "\n") {
		id := strings.TrimSpace(line)
		if id == "" {
			continue
		}
		if err := coffee.ValidateOrderID(id); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, i+1, err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}
