package commands

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"example.com/coffee/coffee/audit"
	"example.com/coffee/coffee/encryption"
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
	if plan.asJSON {
		if err := a.Out.Json(backups); err != nil {
			return err
		}
	} else {
		printVerified(a.Out, backups)
	}
	if breaches > 0 {
		return &exit.Error{Code: exit.Breach, Err: errors.New(text.Plural(breaches, "breach", "breaches"))}
	}
	if missing > 0 {
		return exit.Hinted(fmt.Errorf("%s missing", text.Plural(missing, "ledger is", "ledgers are")), "put each beside its database, under the name that coffee backup gave it; if they are in PostgreSQL, say so with --ledger postgres://...")
	}
	if incomplete != nil {
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

func verify(ctx context.Context, a *app.App, file string, plan backupPlan) (v verified, err error) {
	stamp, err := devserver.ReadStamp(ctx, file)
	if err != nil {
		return v, exit.Hinted(err, "name the databases that coffee backup has made")
	}
	elsewhere := ledgers.IsPostgres(plan.ledger.Where)
	ledgers, err := backupfiles.LedgersBeside(file)
	if err != nil {
		return v, err
	}
	temporary, err := tempdir.Make("verify")
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, temporary.Remove()) }()
	dir := temporary.Path()
	if err := backupfiles.CheckRoom(ctx, dir, file, ledgers); err != nil {
		return v, err
	}
	// Copying reads and checks everything.
	copies := []devserver.Copy{{From: file, To: filepath.Join(dir, "coffee.db")}}
	for i, ledger := range ledgers {
		copies = append(copies, devserver.Copy{From: ledger.File, To: filepath.Join(dir, fmt.Sprintf("ledger-%d.db", i))})
	}
	if err := devserver.Backup(ctx, copies...); err != nil {
		return v, err
	}
	v = verified{Database: file, ServerVersion: stamp.ServerVersion, Ledgers: []auditedLedger{}, Missing: []missingLedger{}}
	namespaces, err := devserver.ReadNamespaces(ctx, copies[0].To)
	if err != nil {
		return v, err
	}
	copied := map[string]string{} // the copy of each namespace's ledger
	for i, ledger := range ledgers {
		if !slices.Contains(namespaces, ledger.Namespace) {
			return v, fmt.Errorf("%s is the ledger of namespace %s, which is not in the database", text.Printable(ledger.File), text.Printable(ledger.Namespace))
		}
		copied[ledger.Namespace] = copies[i+1].To
	}
	if len(namespaces) == 0 {
		return v, nil
	}
	var tasks background.Tasks
	defer func() { err = errors.Join(err, tasks.Stop()) }()
	server, err := local.StartServer(ctx, a, &tasks, devserver.Options{DatabaseFile: copies[0].To, Namespaces: namespaces, InProcess: true})
	if err != nil {
		return v, err
	}
	for _, ledger := range ledgers {
		conn, err := connectCopy(ctx, a, server, ledger.Namespace, plan.keyset)
		if err != nil {
			return v, err
		}
		report, err := auditCopy(ctx, conn, copied[ledger.Namespace])
		conn.Close()
		if err != nil {
			return v, err
		}
		v.Ledgers = append(v.Ledgers, auditedLedger{ledger.File, ledger.Namespace, report})
	}
	for _, namespace := range namespaces {
		if copied[namespace] != "" || elsewhere {
			continue
		}
		conn, err := connectCopy(ctx, a, server, namespace, plan.keyset)
		if err != nil {
			return v, err
		}
		recorded, err := ledger.RecordedFor(ctx, conn.Orders().Client)
		conn.Close()
		if err != nil {
			return v, err
		}
		if recorded.ID != "" {
			v.Missing = append(v.Missing, missingLedger{namespace, recorded.ID})
		}
	}
	return v, nil
}

// connectCopy connects to a namespace of a server on a copy.
func connectCopy(ctx context.Context, a *app.App, server *devserver.Server, namespace string, keyset *encryption.Keyset) (*connect.Connection, error) {
	options := connect.Options{Options: server.ClientOptions(), Keyset: keyset}
	options.Namespace = namespace
	return connect.Open(ctx, a, options)
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
