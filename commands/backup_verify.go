package commands

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"example.com/coffee/coffee/audit"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/background"
	"example.com/coffee/commands/internal/backupfiles"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/findings"
	"example.com/coffee/commands/internal/ledgers"
	"example.com/coffee/commands/internal/local"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/tempdir"
	"example.com/coffee/internal/text"
)

// verified is what coffee backup --verify says about a backup.
type verified struct {
	Database      string          `json:"database"`
	ServerVersion string          `json:"server_version"`
	Ledgers       []auditedLedger `json:"ledgers"`
	Missing       []missingLedger `json:"missing"`
}

// missingLedger is a ledger that a backup lacks, although its database has recorded it.
type missingLedger struct {
	Namespace string `json:"namespace"`
	Ledger    string `json:"ledger"` // its id
}

// auditedLedger is a ledger of a backup, with its audit.
type auditedLedger struct {
	Ledger    string        `json:"ledger"`
	Namespace string        `json:"namespace"`
	Report    *audit.Report `json:"report"`
}

// runVerify checks backups: it reads each file whole, starts a server on a copy of the
// database, and audits it with the ledgers beside it. The backups stay as they are.
func runVerify(ctx context.Context, a *app.App, plan backupPlan) error {
	backups := []verified{}
	var breaches, missing int
	var incomplete *audit.Report
	beside := map[string]bool{} // ledgers, which are checked with their databases
	for _, file := range plan.verify {
		ledgers, err := backupfiles.LedgersBeside(file)
		if err != nil {
			return err
		}
		for _, ledger := range ledgers {
			beside[ledger.File] = true
		}
	}
	for _, file := range plan.verify {
		if beside[filepath.Clean(file)] {
			continue
		}
		v, err := verify(ctx, a, file, plan)
		if err != nil {
			return fmt.Errorf("%s: %w", text.Printable(file), err)
		}
		backups = append(backups, v)
		missing += len(v.Missing)
		for _, l := range v.Ledgers {
			breaches += len(l.Report.Breaches)
			if len(l.Report.Unreadable) > 0 {
				incomplete = l.Report
			}
		}
	}
	if err := a.Out.Show(plan.asJSON, backups, func(out *terminal.Output) { printVerified(out, backups) }); err != nil {
		return err
	}
	switch {
	case breaches > 0:
		return exit.Errorf(exit.Breach, "%s", text.Plural(breaches, "breach", "breaches"))
	case missing > 0:
		return exit.Hinted(fmt.Errorf("%s missing", text.Plural(missing, "ledger is", "ledgers are")), "put each beside its database, under the name that coffee backup gave it; if they are in PostgreSQL, say so with --ledger postgres://...")
	case incomplete != nil:
		return findings.Verdict(incomplete)
	}
	return nil
}

// printVerified prints the verified backups for people.
func printVerified(out *terminal.Output, backups []verified) {
	for _, v := range backups {
		out.Line("Database", "%s: whole, of Temporal server %s", text.Printable(v.Database), text.Printable(v.ServerVersion))
		if len(v.Ledgers) == 0 {
			out.Line("Ledger", "none beside it")
		}
		for _, l := range v.Ledgers {
			out.Line("Ledger", "%s", text.Printable(l.Ledger))
			findings.PrintAudit(out, l.Report)
		}
		for _, m := range v.Missing {
			out.Line("Missing", "the ledger of namespace %s, ledger %s", text.Printable(m.Namespace), text.Printable(m.Ledger))
		}
	}
}

// verify checks the backup in a file, with the ledgers beside it.
func verify(ctx context.Context, a *app.App, file string, plan backupPlan) (v verified, err error) {
	stamp, err := devserver.ReadStamp(ctx, file)
	if err != nil {
		return v, exit.Hinted(err, "name the databases that coffee backup has made")
	}
	v = verified{Database: file, ServerVersion: stamp.ServerVersion, Ledgers: []auditedLedger{}, Missing: []missingLedger{}}
	temporary, err := tempdir.Make("verify")
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, temporary.Remove()) }()
	database, ledgersOf, err := copyBackup(ctx, temporary.Path(), file)
	if err != nil {
		return v, err
	}
	namespaces, err := devserver.ReadNamespaces(ctx, database)
	if err != nil {
		return v, err
	}
	for _, namespace := range slices.Sorted(maps.Keys(ledgersOf)) {
		if !slices.Contains(namespaces, namespace) {
			return v, fmt.Errorf("%s is the ledger of namespace %s, which is not in the database", text.Printable(ledgersOf[namespace][0].From), text.Printable(namespace))
		}
	}
	if len(namespaces) == 0 {
		return v, nil
	}
	var tasks background.Tasks
	defer func() { err = errors.Join(err, tasks.Stop()) }()
	server, err := local.StartServer(ctx, a, &tasks, devserver.Options{DatabaseFile: database, Namespaces: namespaces, InProcess: true})
	if err != nil {
		return v, err
	}
	for _, namespace := range slices.Sorted(slices.Values(namespaces)) {
		options := connect.Options{Options: server.ClientOptions(), Keyset: plan.keyset}
		options.Namespace = namespace
		conn, err := connect.Open(ctx, a, options)
		if err != nil {
			return v, err
		}
		err = v.addNamespace(ctx, conn, ledgersOf[namespace], ledgers.IsPostgres(plan.ledger.Where))
		conn.Close()
		if err != nil {
			return v, err
		}
	}
	return v, nil
}

// copyBackup copies a backup to a directory, which reads and checks everything. It returns the
// copy of the database, and how the ledgers of each namespace were copied.
func copyBackup(ctx context.Context, dir, file string) (database string, ledgersOf map[string][]devserver.Copy, err error) {
	ledgers, err := backupfiles.LedgersBeside(file)
	if err != nil {
		return "", nil, err
	}
	if err := backupfiles.CheckRoom(ctx, dir, file, ledgers); err != nil {
		return "", nil, err
	}
	database, ledgersOf = filepath.Join(dir, "coffee.db"), map[string][]devserver.Copy{}
	copies := []devserver.Copy{{From: file, To: database}}
	for i, ledger := range ledgers {
		copied := devserver.Copy{From: ledger.File, To: filepath.Join(dir, fmt.Sprintf("ledger-%d.db", i))}
		copies, ledgersOf[ledger.Namespace] = append(copies, copied), append(ledgersOf[ledger.Namespace], copied)
	}
	return database, ledgersOf, devserver.Backup(ctx, copies...)
}

// addNamespace audits the orders of a namespace with its ledgers. If there is none, it is missing
// if the database has recorded one, unless that is elsewhere.
func (v *verified) addNamespace(ctx context.Context, conn *connect.Connection, ledgers []devserver.Copy, elsewhere bool) error {
	for _, copied := range ledgers {
		report, err := auditCopy(ctx, conn, copied.To)
		if err != nil {
			return err
		}
		v.Ledgers = append(v.Ledgers, auditedLedger{copied.From, conn.Namespace, report})
	}
	if len(ledgers) > 0 || elsewhere {
		return nil
	}
	recorded, err := ledger.RecordedFor(ctx, conn.Orders().Client)
	if err == nil && recorded.ID != "" {
		v.Missing = append(v.Missing, missingLedger{conn.Namespace, recorded.ID})
	}
	return err
}

// auditCopy audits the orders of a namespace with a ledger.
func auditCopy(ctx context.Context, conn *connect.Connection, file string) (*audit.Report, error) {
	book, err := audit.OpenBook(ctx, file)
	if err != nil {
		return nil, err
	}
	defer book.Close()
	if err := ledger.CheckOwner(ctx, conn.Orders().Client, book.ID(), book.Owner()); err != nil {
		return nil, err
	}
	return audit.Run(ctx, audit.Options{Client: conn.Client, Namespace: conn.Namespace, Book: book})
}
