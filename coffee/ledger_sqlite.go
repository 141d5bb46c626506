package coffee

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"example.com/coffee/internal/sqlitefile"
)

//go:embed ledger_sqlite.sql
var sqliteSchema string

// openSQLiteFile opens the ledger in a file. If there is none, it creates it, or
// returns [ErrNoLedger].
func openSQLiteFile(ctx context.Context, path string, create bool) (_ Ledger, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot open the ledger %s: %w", path, err)
		}
	}()
	absolute, err := sqlitefile.Resolve(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(absolute)
	if errors.Is(err, fs.ErrNotExist) {
		// SQLite would replay it into the new file. Who only reads leaves an empty one.
		if log, err := os.Stat(absolute + "-wal"); err == nil && log.Size() > 0 {
			return nil, fmt.Errorf("it is gone, but %s-wal is there, with the last of its entries: restore it, or delete that one as well to begin a new one", path)
		}
		if !create {
			return nil, ErrNoLedger
		}
		if err := createSQLiteFile(ctx, absolute); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	} else if info.Size() == 0 {
		// SQLite would make a new database of it, and nobody would ever notice
		// that the money in the old one is forgotten.
		return nil, errors.New("it is empty: restore it, or delete it, and the file -wal beside it, to begin a new one")
	} else if err := sqlitefile.CheckNames(absolute); err != nil {
		return nil, err
	} else if err := checkSQLiteFile(ctx, absolute); err != nil {
		return nil, err
	}
	ledger, err := openSQLite(ctx, sqliteFileDSN(absolute, "journal_mode(WAL)"))
	if err != nil {
		return nil, err
	}
	if ledger.inPlace, err = stayInPlace(absolute); err != nil {
		return nil, errors.Join(err, ledger.Close())
	}
	return ledger, nil
}

// checkSQLiteFile refuses a file that is damaged or no ledger, before anything is
// written to it.
func checkSQLiteFile(ctx context.Context, absolute string) (err error) {
	db, err := sql.Open("sqlite", sqliteFileDSN(absolute))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		verdict = strings.TrimPrefix(verdict, "*** in database main ***")
		return fmt.Errorf("it is damaged: %s", strings.Join(strings.Fields(verdict), " "))
	}
	var isLedger bool
	if err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'ledger_entries')`).Scan(&isLedger); err != nil {
		return err
	}
	if !isLedger {
		return errors.New("it is the database of something else")
	}
	return nil
}

// stayInPlace returns a function that fails when the file, which is open by this
// name, has been deleted or replaced. What is written to it then is lost: the next
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

// createSQLiteFile makes an empty ledger, unless another process is faster.
func createSQLiteFile(ctx context.Context, path string) (err error) {
	draft, err := sqlitefile.NewDraft(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, draft.Close()) }()
	ledger, err := openSQLite(ctx, sqliteFileDSN(draft.Name(), "journal_mode(WAL)"))
	if err != nil {
		return err
	}
	if err := ledger.Close(); err != nil {
		return err
	}
	if err := draft.Publish(); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func sqliteFileDSN(absolute string, pragmas ...string) string {
	// FULL: what was committed survives a power loss, as on the Temporal
	// server; otherwise the two could disagree about a charge.
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(absolute), RawQuery: url.Values{
		"mode":    {"rw"},
		"_txlock": {"immediate"}, // take the write lock at BEGIN, so that what was read stays true
		"_pragma": append(pragmas, "busy_timeout(5000)", "synchronous(FULL)"),
	}.Encode()}
	return dsn.String()
}

// OpenMemoryLedger opens a new ledger that is gone when it is closed.
func OpenMemoryLedger(ctx context.Context) (Ledger, error) {
	return openSQLite(ctx, "file::memory:")
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
