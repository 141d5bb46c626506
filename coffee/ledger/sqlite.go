package ledger

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/sqlitefile"
)

//go:embed sqlite.sql
var sqliteSchema string

// openSQLiteFile opens the ledger in a file. If there is none, it creates one if
// create is true, and returns [coffee.ErrNoLedger] otherwise.
func openSQLiteFile(ctx context.Context, path string, create bool) (_ coffee.Ledger, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot open the ledger %s: %w", path, err)
		}
	}()
	absolute, err := sqlitefile.Resolve(path)
	if err != nil {
		return nil, err
	}
	exists, err := sqlitefile.Find(absolute)
	switch {
	case err != nil:
		return nil, err
	case !exists && !create:
		return nil, coffee.ErrNoLedger
	case !exists:
		if err := createSQLiteFile(ctx, absolute); err != nil {
			return nil, err
		}
	default:
		if err := sqlitefile.CheckNames(absolute); err != nil {
			return nil, err
		}
		if err := checkSQLiteFile(ctx, absolute); err != nil {
			return nil, err
		}
	}
	ledger, err := openSQLite(ctx, fileDSN(absolute))
	if err != nil {
		return nil, err
	}
	if ledger.inPlace, err = stayInPlace(absolute); err != nil {
		return nil, errors.Join(err, ledger.Close())
	}
	return ledger, nil
}

// checkSQLiteFile returns an error if the file is damaged or not a ledger, before
// anything is written to it.
func checkSQLiteFile(ctx context.Context, absolute string) (err error) {
	db, err := sql.Open("sqlite", sqlitefile.DSN(absolute, "rw", map[string]string{"busy_timeout": "5000"}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if err := sqlitefile.Check(ctx, db); err != nil {
		return err
	}
	var isLedger bool
	if err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'ledger_entries')`).Scan(&isLedger); err != nil {
		return err
	}
	if !isLedger {
		return errors.New("it is another program's database")
	}
	return nil
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

// createSQLiteFile creates an empty ledger, unless another process does so first.
func createSQLiteFile(ctx context.Context, path string) error {
	err := sqlitefile.Create(path, func(draft string) error {
		ledger, err := openSQLite(ctx, fileDSN(draft))
		if err != nil {
			return err
		}
		return ledger.Close()
	})
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
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
func OpenMemory(ctx context.Context) (coffee.Ledger, error) {
	l, err := openSQLite(ctx, "file::memory:")
	if err != nil {
		return nil, err // not l, which would be an interface that is not nil
	}
	return l, nil
}

func openSQLite(ctx context.Context, dsn string) (*sqlLedger, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	// SQLite has one writer at a time anyway, and an in-memory database lives
	// and dies with its one connection.
	db.SetMaxOpenConns(1)
	db.SetConnMaxIdleTime(0)
	if _, err := db.ExecContext(ctx, sqliteSchema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &sqlLedger{db: db, isolation: sql.LevelSerializable, now: time.Now}, nil
}
