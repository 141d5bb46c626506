package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"modernc.org/sqlite"

	"example.com/coffee/internal/sqlitefile"
)

//go:embed sqlite.sql
var sqliteSchema string

// sqliteEngine needs no locks: its transactions take SQLite's when they begin
// ([sqlitefile.Immediate]).
var sqliteEngine = engine{
	steps:   []string{sqliteSchema},
	tables:  `SELECT name FROM sqlite_schema WHERE type = 'table'`,
	place:   "ledger_id",
	inWords: func(err error) error { return err },
	// The first page is written anew. That has to be committed, because only then does
	// SQLite need room on the disk.
	probe: func(ctx context.Context, tx *sql.Tx, _, _ string) error {
		_, err := tx.ExecContext(ctx, `PRAGMA user_version = 0`) // which it is
		return err
	},
}

// CheckSQLite returns nil if the database is a ledger that this program knows, and
// otherwise an error as [OpenExisting] does.
func CheckSQLite(ctx context.Context, db querier) error { return sqliteEngine.check(ctx, db) }

// openSQLiteFile opens the ledger in a file, and migrates its schema. If there is no
// file, it creates one if create is true, and returns [ErrNoLedger] otherwise.
func openSQLiteFile(ctx context.Context, path string, create bool, e engine, options ...Option) (_ Store, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot open the ledger %s: %w", path, err)
		}
	}()
	absolute, err := sqlitefile.Resolve(path)
	if errors.Is(err, fs.ErrNotExist) && !create { // not even its directory exists
		return nil, ErrNoLedger
	}
	if err != nil {
		return nil, err
	}
	exists, err := sqlitefile.Find(absolute)
	switch {
	case err != nil:
	case !exists && !create:
		err = ErrNoLedger
	case !exists:
		err = sqlitefile.Create(absolute, func(draft string) error {
			ledger, err := openSQLite(ctx, fileDSN(draft), e)
			if err != nil {
				return err
			}
			return ledger.Close()
		})
		if errors.Is(err, fs.ErrExist) { // another process was first
			err = nil
		}
	default:
		if err = sqlitefile.CheckNames(absolute); err == nil {
			err = checkSQLiteFile(ctx, absolute, e)
		}
	}
	if err != nil {
		return nil, err
	}
	ledger, err := openSQLite(ctx, fileDSN(absolute), e, options...)
	if err != nil {
		return nil, err
	}
	if ledger.inPlace, err = stayInPlace(absolute); err != nil {
		return nil, errors.Join(err, ledger.Close())
	}
	return ledger, nil
}

// checkSQLiteFile returns an error if the file is damaged, not a ledger, or that of a
// newer program, before anything is written to it.
func checkSQLiteFile(ctx context.Context, absolute string, e engine) (err error) {
	db, err := sql.Open("sqlite", sqlitefile.DSN(absolute, "rw", map[string]string{"busy_timeout": "5000"}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if err := sqlitefile.Check(ctx, db); err != nil {
		return err
	}
	version, err := e.version(ctx, db)
	if err == nil && version == 0 {
		err = errors.New("it is another program's database")
	}
	return err
}

// stayInPlace returns a function that fails once the file, which is open under this
// name, has been deleted or replaced. Anything written to it then is lost: the next
// process finds another file, or none.
func stayInPlace(name string) (func() error, error) {
	opened, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	return func() error {
		if now, err := os.Stat(name); err != nil || !os.SameFile(opened, now) {
			return fmt.Errorf("%s was deleted or replaced while it was open: put it back, and start the worker again", name)
		}
		return nil
	}, nil
}

// fileDSN returns the data source name of a ledger in a file. A commit survives a
// power failure, as it does on the Temporal server; otherwise the two could
// disagree about a charge.
func fileDSN(absolute string) string {
	return sqlitefile.DSN(absolute, "rw", map[string]string{
		"journal_mode": "wal", "synchronous": "full", "busy_timeout": "5000", // milliseconds
	}) + sqlitefile.Immediate
}

// OpenMemory opens a new ledger in memory, which is gone when it is closed.
func OpenMemory(ctx context.Context, options ...Option) (Store, error) {
	l, err := openSQLite(ctx, "file::memory:", sqliteEngine, options...)
	if err != nil {
		return nil, err // not l, which would be an interface that is not nil
	}
	return l, nil
}

func openSQLite(ctx context.Context, dsn string, e engine, options ...Option) (*sqlLedger, error) {
	settings := newSettings(options)
	db := openDB("sqlite", sqliteConnector(dsn), settings)
	// SQLite has one writer at a time anyway, and an in-memory database lives
	// and dies with its one connection.
	db.SetMaxOpenConns(1)
	db.SetConnMaxIdleTime(0)
	ledger, err := e.open(ctx, db, true, settings)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return ledger, nil
}

// sqliteConnector opens connections to a SQLite database with this data source name.
type sqliteConnector string

func (c sqliteConnector) Connect(context.Context) (driver.Conn, error) {
	return c.Driver().Open(string(c))
}

func (sqliteConnector) Driver() driver.Driver { return &sqlite.Driver{} }
