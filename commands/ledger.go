package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"

	"example.com/coffee/coffee/ledger"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/sqlitefile"
	"example.com/coffee/internal/text"
)

func ledgerFlag(category string) cli.Flag {
	return &cli.StringFlag{
		Name:        "ledger",
		Usage:       "ledger of charges and refunds: a SQLite `FILE` or a postgres:// URL",
		DefaultText: "$" + ledgerVariable + ", or a file per server and namespace in the data directory",
		Category:    category,
	}
}

// ledgerChoice says which ledger a command works with.
type ledgerChoice struct {
	// where is the file or the URL that the flag or the variable names; empty
	// means the server's own file.
	where string
	// named is true if the flag named it.
	named bool
	// begin allows a new ledger even if orders on the server have been charged.
	begin bool
}

// parseLedger parses the flags.
func parseLedger(c *cli.Context) (ledgerChoice, error) {
	// The variable must not set the flag, which is an error where no worker runs.
	choice := ledgerChoice{
		where: cmp.Or(c.String("ledger"), os.Getenv(ledgerVariable)),
		named: c.String("ledger") != "",
		begin: c.Bool("new-ledger"),
	}
	if !choice.named { // whether the variable counts is not known yet
		return choice, nil
	}
	return choice, choice.check()
}

// check refuses a name that is neither a file nor a postgres:// URL. The error does
// not repeat it, because there may be a password in it.
func (l ledgerChoice) check() error {
	if _, err := ledger.PostgresURL(l.where); err != nil {
		return exit.Usagef("", "%s: %v", choose(l.named, "--ledger", "$"+ledgerVariable), err)
	}
	// The name of a ledger may have any bytes, unlike that of the server's database.
	if err := sqlitefile.CheckName(l.where); err != nil && utf8.ValidString(l.where) {
		return exit.Usagef("", "%s %v", choose(l.named, "--ledger", "$"+ledgerVariable), err)
	}
	return nil
}

// ledgerPath returns the file or URL of the chosen ledger. By default each server
// and namespace has its own file, so that orders of one are not taken for orders of
// another.
func ledgerPath(ctx context.Context, a *app, choice ledgerChoice, conn *connection) (string, error) {
	if choice.where != "" {
		return choice.where, choice.check()
	}
	dir, err := dataDir(a)
	if err != nil {
		return "", err
	}
	id := conn.at.address
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// A server that does not report its id is identified by its address. One that does not
	// answer at the moment must not be: its ledger would be another.
	info, err := conn.WorkflowService().GetClusterInfo(ctx, &workflowservice.GetClusterInfoRequest{})
	if noAnswer(err) {
		return "", serverProblem(err, conn.at)
	}
	if err == nil && info.GetClusterId() != "" {
		id = info.GetClusterId()
	}
	return filepath.Join(dir, fmt.Sprintf("ledger-%s-%s.db", url.PathEscape(id), url.PathEscape(conn.namespace))), nil
}

// openLedger opens or begins the ledger, and returns where it is, for people. If
// the server is in memory, in this process, and no flag names a ledger, the ledger
// is in memory, too. The variable is ignored then: orders that will be forgotten do
// not belong in a ledger that is kept.
//
// A database that cannot be used yet is waited for.
func openLedger(ctx context.Context, a *app, choice ledgerChoice, conn *connection, inMemory bool) (opened ledger.Store, where string, err error) {
	if inMemory && !choice.named {
		opened, err = ledger.OpenMemory(ctx, a.ledgerOptions()...)
		return opened, "in memory", err
	}
	err = whenUp(ctx, a, "waiting for the server", isAway, func() (err error) {
		where, err = ledgerPath(ctx, a, choice, conn)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	passes := func(err error) bool { return ledger.IsUnavailable(err) || noAnswer(err) }
	err = whenUp(ctx, a, "the ledger cannot be used yet: waiting for it", passes, func() (err error) {
		opened, err = beginLedger(ctx, a, choice, where, conn)
		return err
	})
	return opened, redacted(where), err
}

// beginLedger opens the ledger, or begins it if the server knows of no other. One that takes
// no entries at the moment is opened all the same: the worker is not ready, and says so.
func beginLedger(ctx context.Context, a *app, choice ledgerChoice, where string, conn *connection) (ledger.Store, error) {
	opened, err := ledger.OpenExisting(ctx, where, a.ledgerOptions()...)
	if errors.Is(err, ledger.ErrNoLedger) {
		if !choice.begin {
			if err := refuseNewLedger(ctx, conn, redacted(where)); err != nil {
				return nil, err
			}
		}
		if choice.where == "" {
			if err := makeDataDir(a); err != nil {
				return nil, err
			}
		}
		opened, err = ledger.Open(ctx, where, a.ledgerOptions()...)
	}
	if err != nil {
		return nil, exit.Hinted(err, "choose another ledger with --ledger")
	}
	return opened, nil
}

// refuseNewLedger returns an error if the server knows the ledger of the orders: it is
// somewhere else then, or was lost.
func refuseNewLedger(ctx context.Context, conn *connection, where string) error {
	recorded, err := ledger.RecordedFor(ctx, conn.orders().Client)
	var denied *serviceerror.PermissionDenied
	if errors.As(err, &denied) || err == nil && recorded.ID == "" {
		return nil // the ledger alone has to know whose it is
	}
	if err != nil {
		return err
	}
	return exit.Hinted(fmt.Errorf("there is no ledger %s, but orders of namespace %q are kept in ledger %s: it was moved or lost", where, conn.namespace, text.Printable(recorded.ID)), "put it back, name it with --ledger, or start a new one with --new-ledger")
}

// ledgerIfAny opens the ledger to read it. It returns nil if there is no ledger on
// this machine.
func ledgerIfAny(ctx context.Context, a *app, choice ledgerChoice, conn *connection) (ledger.Store, error) {
	where, err := ledgerPath(ctx, a, choice, conn)
	if err != nil {
		return nil, err
	}
	opened, err := ledger.OpenExisting(ctx, where)
	if errors.Is(err, ledger.ErrNoLedger) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := ledger.CheckOwner(ctx, conn.orders().Client, opened.ID(), ledger.Owner{}); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

// isPostgres reports whether a ledger is in PostgreSQL. Its name must have been
// checked.
func isPostgres(where string) bool {
	url, err := ledger.PostgresURL(where)
	return err == nil && url != ""
}

// redacted returns where a ledger is, without the user name and the password, which
// a URL can have in more than one place.
func redacted(where string) string {
	if !isPostgres(where) {
		return where
	}
	u, err := url.Parse(where)
	if err != nil {
		return "in PostgreSQL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
