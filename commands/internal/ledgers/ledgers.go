// Package ledgers finds and opens the ledger that a command works with.
package ledgers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"

	"example.com/coffee/coffee/ledger"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/private"
	"example.com/coffee/internal/sqlitefile"
	"example.com/coffee/internal/text"
)

// Flag is the flag that names a ledger.
func Flag(category string) cli.Flag {
	return &cli.StringFlag{
		Name:        "ledger",
		Usage:       "ledger of charges and refunds: a SQLite `FILE` or a postgres:// URL",
		DefaultText: "$" + commandline.LedgerVariable + ", or a file per server and namespace in the data directory",
		Category:    category,
	}
}

// Choice says which ledger a command works with.
type Choice struct {
	// Where is the file or the URL that the flag or the variable names; empty
	// means the server's own file.
	Where string
	// Named is true if the flag named it.
	Named bool
	// Begin lets an empty ledger take the place of the one that orders were kept in.
	Begin bool
}

// Parse parses the flags.
func Parse(c *cli.Context) (Choice, error) {
	// The variable must not set the flag, which is an error where no worker runs.
	choice := Choice{
		Where: cmp.Or(c.String("ledger"), os.Getenv(commandline.LedgerVariable)),
		Named: c.String("ledger") != "",
		Begin: c.Bool("new-ledger"),
	}
	if !choice.Named { // whether the variable counts is not known yet
		return choice, nil
	}
	return choice, choice.Check()
}

// Check refuses a name that is neither a file nor a postgres:// URL. The error does
// not repeat it, because there may be a password in it.
func (l Choice) Check() error {
	if _, err := ledger.PostgresURL(l.Where); err != nil {
		return exit.Usagef("", "%s: %v", terminal.Choose(l.Named, "--ledger", "$"+commandline.LedgerVariable), err)
	}
	// The name of a ledger may have any bytes, unlike that of the server's database.
	if err := sqlitefile.CheckName(l.Where); err != nil && utf8.ValidString(l.Where) {
		return exit.Usagef("", "%s %v", terminal.Choose(l.Named, "--ledger", "$"+commandline.LedgerVariable), err)
	}
	return nil
}

// Path returns the file or URL of the chosen ledger. By default each server
// and namespace has its own file, so that orders of one are not taken for orders of
// another.
func Path(ctx context.Context, a *app.App, choice Choice, conn *connect.Connection) (string, error) {
	if choice.Where != "" {
		return choice.Where, choice.Check()
	}
	dir, err := Dir(a)
	if err != nil {
		return "", err
	}
	id := conn.At.Address
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// A server that does not report its id is identified by its address. One that does not
	// answer at the moment must not be: its ledger would be another.
	info, err := conn.WorkflowService().GetClusterInfo(ctx, &workflowservice.GetClusterInfoRequest{})
	if connect.NoAnswer(err) {
		return "", connect.ServerProblem(err, conn.At)
	}
	if err == nil && info.GetClusterId() != "" {
		id = info.GetClusterId()
	}
	return filepath.Join(dir, fmt.Sprintf("ledger-%s-%s.db", url.PathEscape(id), url.PathEscape(conn.Namespace))), nil
}

// Open opens or begins the ledger, and returns where it is, for people. If
// the server is in memory, in this process, and no flag names a ledger, the ledger
// is in memory, too. The variable is ignored then: orders that will be forgotten do
// not belong in a ledger that is kept.
//
// A database that cannot be used yet is waited for.
func Open(ctx context.Context, a *app.App, choice Choice, conn *connect.Connection, inMemory bool) (opened ledger.Store, where string, err error) {
	if inMemory && !choice.Named {
		opened, err = ledger.OpenMemory(ctx, a.LedgerOptions()...)
		return opened, "in memory", err
	}
	err = connect.WhenUp(ctx, a, "waiting for the server", connect.IsAway, func() (err error) {
		where, err = Path(ctx, a, choice, conn)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	passes := func(err error) bool { return ledger.IsUnavailable(err) || connect.NoAnswer(err) }
	err = connect.WhenUp(ctx, a, "the ledger cannot be used yet: waiting for it", passes, func() (err error) {
		opened, err = begin(ctx, a, choice, where, conn)
		return err
	})
	return opened, redacted(where), err
}

// begin opens the ledger, or begins it if the server knows of no other. One that takes
// no entries at the moment is opened all the same: the worker is not ready, and says so.
func begin(ctx context.Context, a *app.App, choice Choice, where string, conn *connect.Connection) (ledger.Store, error) {
	opened, err := ledger.OpenExisting(ctx, where, a.LedgerOptions()...)
	if errors.Is(err, ledger.ErrNoLedger) {
		err = nil
		if !choice.Begin {
			err = refuseNewLedger(ctx, conn, redacted(where))
		}
		if err == nil && choice.Where == "" {
			err = MakeDir(a)
		}
		if err != nil {
			return nil, err
		}
		opened, err = ledger.Open(ctx, where, a.LedgerOptions()...)
	}
	if err != nil {
		return nil, exit.Hinted(err, "choose another ledger with --ledger")
	}
	return opened, nil
}

// refuseNewLedger returns an error if the server knows the ledger of the orders: it is
// somewhere else then, or was lost.
func refuseNewLedger(ctx context.Context, conn *connect.Connection, where string) error {
	recorded, err := ledger.RecordedFor(ctx, conn.Orders().Client)
	if _, denied := errors.AsType[*serviceerror.PermissionDenied](err); denied || err == nil && recorded.ID == "" {
		return nil // the ledger alone has to know whose it is
	}
	if err != nil {
		return err
	}
	return exit.Hinted(fmt.Errorf("there is no ledger %s, but orders of namespace %q are kept in ledger %s: it was moved or lost", where, conn.Namespace, text.Printable(recorded.ID)), "put it back, name it with --ledger, or start a new one with --new-ledger")
}

// IfAny opens the ledger to read it. It returns nil if there is no ledger on
// this machine.
func IfAny(ctx context.Context, a *app.App, choice Choice, conn *connect.Connection) (ledger.Store, error) {
	where, err := Path(ctx, a, choice, conn)
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
	if err := ledger.CheckOwner(ctx, conn.Orders().Client, opened.ID(), ledger.Owner{}); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

// IsPostgres reports whether a ledger is in PostgreSQL. Its name must have been
// checked.
func IsPostgres(where string) bool {
	url, err := ledger.PostgresURL(where)
	return err == nil && url != ""
}

// redacted returns where a ledger is, without the user name and the password, which
// a URL can have in more than one place.
func redacted(where string) string {
	if !IsPostgres(where) {
		return where
	}
	u, err := url.Parse(where)
	if err != nil {
		return "in PostgreSQL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// Dir returns the directory of the user's data, which need not exist: coffee in
// $XDG_DATA_HOME, or in ~/.local/share. If others could replace its files, Dir logs a
// warning.
func Dir(a *app.App) (string, error) {
	base := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(base) { // the XDG specification says to ignore relative paths
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("where to keep data? %w: set XDG_DATA_HOME", err)
		}
		base = filepath.Join(home, ".local", "share")
	}
	dir := filepath.Join(base, "coffee")
	if err := private.CheckDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.Log.Warn().Msg("the data directory is not private: " + err.Error())
	}
	return dir, nil
}

// MakeDir creates the directory of the user's data if it does not exist, readable by
// the user alone. Commands that only read do without it.
func MakeDir(a *app.App) error {
	dir, err := Dir(a)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot create the data directory: %w", err)
	}
	return nil
}

// CheckDatabaseName returns a usage error for a name that is hardly meant as that of a
// database file.
func CheckDatabaseName(c *cli.Context, name string) error {
	err := sqlitefile.CheckName(name)
	switch {
	case err == nil:
		return nil
	case name == ":memory:" && c.Command.Name == "server":
		return commandline.Errorf(c, "--db-filename is SQLite's name for a database in memory: use --in-memory")
	}
	return commandline.Errorf(c, "the database %s %v", text.Printable(name), err)
}
