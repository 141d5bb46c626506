package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/coffee/encryption"
	"example.com/coffee/devserver"
)

// verified is what coffee backup --verify says about a backup.
type verified struct {
	Database      string          `json:"database"`
	ServerVersion string          `json:"server_version"`
	Ledgers       []auditedLedger `json:"ledgers"`
}

// auditedLedger is a ledger of a backup, with its audit.
type auditedLedger struct {
	Ledger    string        `json:"ledger"`
	Namespace string        `json:"namespace"`
	Report    *audit.Report `json:"report"`
}

// runVerify checks backups: it reads each file whole, starts a server on a copy of the
// database, and audits it with the ledgers beside it. The backups stay as they are.
func runVerify(ctx context.Context, a *app, plan backupPlan) error {
	backups := []verified{}
	var breaches int
	var incomplete *audit.Report
	beside := map[string]bool{} // ledgers, which are checked with their databases
	for _, file := range plan.verify {
		ledgers, err := ledgersBeside(file)
		if err != nil {
			return err
		}
		for _, ledger := range ledgers {
			beside[ledger] = true
		}
	}
	for _, file := range plan.verify {
		if beside[filepath.Clean(file)] {
			continue
		}
		v, err := verify(ctx, a, file, plan.keyset)
		if err != nil {
			return fmt.Errorf("%s: %w", coffee.Printable(file), err)
		}
		backups = append(backups, v)
		for _, l := range v.Ledgers {
			breaches += len(l.Report.Breaches)
			if l.Report.Incomplete {
				incomplete = l.Report
			}
		}
	}
	if plan.asJSON {
		if err := a.out.json(backups); err != nil {
			return err
		}
	} else {
		printVerified(a.out, backups)
	}
	if breaches > 0 {
		return &exitError{code: exitBreach, message: plural(breaches, "breach", "breaches")}
	}
	if incomplete != nil {
		return verdict(incomplete)
	}
	return nil
}

// printVerified prints the verified backups for people.
func printVerified(out *output, backups []verified) {
	for _, v := range backups {
		out.line("Database", "%s: whole, of Temporal server %s", coffee.Printable(v.Database), v.ServerVersion)
		if len(v.Ledgers) == 0 {
			out.line("Ledger", "none beside it")
		}
		for _, l := range v.Ledgers {
			out.line("Ledger", "%s", coffee.Printable(l.Ledger))
			printAudit(out, l.Report)
		}
	}
}

func verify(ctx context.Context, a *app, file string, keyset *encryption.Keyset) (v verified, err error) {
	stamp, err := devserver.ReadStamp(ctx, file)
	if err != nil {
		return v, err
	}
	ledgers, err := ledgersBeside(file)
	if err != nil {
		return v, err
	}
	dir, err := os.MkdirTemp("", "coffee-verify-")
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Copying reads and checks everything.
	copies := []devserver.Copy{{From: file, To: filepath.Join(dir, "coffee.db")}}
	var namespaces []string
	for namespace, ledger := range ledgers {
		namespaces = append(namespaces, namespace)
		copies = append(copies, devserver.Copy{From: ledger, To: filepath.Join(dir, fmt.Sprintf("ledger-%d.db", len(copies)))})
	}
	if err := devserver.Backup(ctx, copies...); err != nil {
		return v, err
	}
	v = verified{Database: file, ServerVersion: stamp.ServerVersion, Ledgers: []auditedLedger{}}
	if len(namespaces) == 0 {
		return v, nil
	}
	var tasks background
	defer func() { err = errors.Join(err, tasks.stop()) }()
	server, err := a.startServer(ctx, &tasks, devserver.Options{DatabaseFile: copies[0].To, Namespaces: namespaces, SearchAttributes: searchAttributes()})
	if err != nil {
		return v, err
	}
	for i, namespace := range namespaces {
		report, err := auditCopy(ctx, a, server, namespace, copies[i+1].To, keyset)
		if err != nil {
			return v, err
		}
		v.Ledgers = append(v.Ledgers, auditedLedger{copies[i+1].From, namespace, report})
	}
	return v, nil
}

// auditCopy audits the orders of a namespace with a ledger.
func auditCopy(ctx context.Context, a *app, server *devserver.Server, namespace, ledger string, keyset *encryption.Keyset) (*audit.Report, error) {
	options := connectOptions{Options: server.ClientOptions(), keyset: keyset}
	options.Namespace = namespace
	conn, err := a.connect(ctx, options)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	book, err := audit.OpenBook(ctx, ledger)
	if err != nil {
		return nil, err
	}
	defer book.Close()
	return audit.Run(ctx, audit.Options{Client: conn.Client, Namespace: namespace, Book: book})
}

// ledgersBeside returns the ledgers that coffee backup has put beside a database, by
// namespace. A ledger that the user named belongs to the default one.
func ledgersBeside(file string) (map[string]string, error) {
	extension := cmp.Or(filepath.Ext(file), ".db")
	prefix := strings.TrimSuffix(filepath.Base(file), extension) + "-ledger"
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	ledgers := map[string]string{}
	for _, entry := range entries {
		rest, ok := strings.CutPrefix(entry.Name(), prefix)
		namespace, isDB := strings.CutSuffix(rest, extension)
		if !ok || !isDB || namespace != "" && !strings.HasPrefix(namespace, "-") {
			continue
		}
		if namespace = strings.TrimPrefix(namespace, "-"); namespace == "" {
			namespace = client.DefaultNamespace
		}
		ledgers[namespace] = filepath.Join(filepath.Dir(file), entry.Name())
	}
	return ledgers, nil
}
