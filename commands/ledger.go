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

	"github.com/urfave/cli/v2"
	"go.temporal.io/api/workflowservice/v1"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
)

// ledgerVariable is the environment variable for the flag --ledger.
const ledgerVariable = "COFFEE_LEDGER"

func ledgerFlag(category string) cli.Flag {
	return &cli.StringFlag{
		Name:        "ledger",
		Usage:       "SQLite `FILE` or postgres:// URL that money is written down in",
		DefaultText: "$" + ledgerVariable + ", or a file for each server, in the data directory",
		Category:    category,
	}
}

// ledgerChoice says which ledger a command works with.
type ledgerChoice struct {
	// where is the file or the URL that the user named, with the flag or the
	// variable; empty means the file of the server.
	where string
	// named is true if the flag named it.
	named bool
	// begin allows a new ledger even if orders of the server have been charged.
	begin bool
}

// parseLedger reads the flags. It refuses what is neither a file nor a
// postgres:// URL.
func parseLedger(c *cli.Context) (ledgerChoice, error) {
	// The variable is not the flag's source: it is no error where no worker runs.
	choice := ledgerChoice{
		where: cmp.Or(c.String("ledger"), os.Getenv(ledgerVariable)),
		named: c.String("ledger") != "",
		begin: c.Bool("new-ledger"),
	}
	if _, err := ledger.PostgresURL(choice.where); choice.where != "" && err != nil {
		return choice, &usageError{message: fmt.Sprintf("--ledger: %v", err)}
	}
	return choice, nil
}

// ledgerPath is the file or URL of the ledger that was chosen. By default each
// server and namespace has a file of its own, so that orders of one are not taken
// for orders of another.
func (a *app) ledgerPath(ctx context.Context, choice ledgerChoice, conn *connection) (string, error) {
	if choice.where != "" {
		return choice.where, nil
	}
	dir, err := a.dataDir()
	if err != nil {
		return "", err
	}
	id := conn.address
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// A server that does not tell its id is known by its address.
	if info, err := conn.WorkflowService().GetClusterInfo(ctx, &workflowservice.GetClusterInfoRequest{}); err == nil && info.GetClusterId() != "" {
		id = info.GetClusterId()
	}
	return filepath.Join(dir, fmt.Sprintf("ledger-%s-%s.db", url.PathEscape(id), url.PathEscape(conn.namespace))), nil
}

// openLedger opens the ledger, and says where it is. If no flag names one, and the
// server is in memory and in this process, so is the ledger; the variable does not
// count then, because orders that will be forgotten do not belong among those that
// are kept.
func (a *app) openLedger(ctx context.Context, choice ledgerChoice, conn *connection, inMemory bool) (book coffee.Ledger, where string, err error) {
	if inMemory && !choice.named {
		book, err = ledger.OpenMemory(ctx)
		return book, "in memory", err
	}
	if where, err = a.ledgerPath(ctx, choice, conn); err != nil {
		return nil, "", err
	}
	book, err = ledger.OpenExisting(ctx, where)
	if errors.Is(err, coffee.ErrNoLedger) {
		if !choice.begin {
			if err := refuseNewLedger(ctx, conn, redacted(where)); err != nil {
				return nil, "", err
			}
		}
		book, err = ledger.Open(ctx, where)
	}
	if err != nil {
		return nil, "", &hintedError{err, "choose another one with --ledger"}
	}
	return book, redacted(where), nil
}

// refuseNewLedger returns an error if orders on the server have been charged: what
// they have paid is then in a ledger that is somewhere else, or was lost.
func refuseNewLedger(ctx context.Context, conn *connection, where string) error {
	charged, err := conn.orders().FindCharged(ctx)
	if err != nil || charged == "" {
		return err
	}
	return &hintedError{
		fmt.Errorf("there is no ledger %s, but order %s has been charged: the ledger was moved, or lost", where, coffee.Printable(charged)),
		"put it back, say where it is with --ledger, or begin a new one with --new-ledger",
	}
}

// ledgerIfAny opens the ledger for reading what it has; it returns nil if there is
// none on this machine.
func (a *app) ledgerIfAny(ctx context.Context, choice ledgerChoice, conn *connection) (coffee.Ledger, error) {
	where, err := a.ledgerPath(ctx, choice, conn)
	if err != nil {
		return nil, err
	}
	book, err := ledger.OpenExisting(ctx, where)
	if errors.Is(err, coffee.ErrNoLedger) {
		return nil, nil
	}
	return book, err
}

// isPostgres reports whether a ledger whose name has been checked is in
// PostgreSQL.
func isPostgres(where string) bool {
	url, err := ledger.PostgresURL(where)
	return err == nil && url != ""
}

// redacted is where a ledger is, without the user's name and password, which a URL
// can have in more than one place.
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
