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
)

//go:embed ledger_sqlite.sql
var sqliteSchema string

// openSQLiteFile opens the ledger in a file, and creates it if there is none.
func openSQLiteFile(ctx context.Context, path string) (_ Ledger, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot open the ledger %s: %w", path, err)
		}
	}()
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(absolute)
	if errors.Is(err, fs.ErrNotExist) {
		// SQLite would replay it into the new file.
		if _, err := os.Stat(absolute + "-wal"); err == nil {
			return nil, fmt.Errorf("it is gone, but %s-wal is there, with the last of its entries: restore it, or delete that one as well to begin a new one", path)
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
	}
	return openSQLite(ctx, sqliteFileDSN(absolute))
}

// createSQLiteFile makes an empty ledger under another name, and gives it its
// name when it is complete. So a ledger is never seen half made, and an empty
// file is never one that was just begun.
func createSQLiteFile(ctx context.Context, path string) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // readable by the owner alone
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // the other name, if all went well
	if err := file.Close(); err != nil {
		return err
	}
	ledger, err := openSQLite(ctx, sqliteFileDSN(file.Name()))
	if err != nil {
		return err
	}
	if err := ledger.Close(); err != nil {
		return err
	}
	err = os.Link(file.Name(), path)
	if errors.Is(err, fs.ErrExist) { // another process was faster
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w (a ledger needs a file system with hard links)", err)
	}
	return nil
}

func sqliteFileDSN(absolute string) string {
	// FULL: what was committed survives a power loss, as on the Temporal
	// server; otherwise the two could disagree about a charge.
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(absolute), RawQuery: url.Values{
		"mode":    {"rw"},
		"_txlock": {"immediate"}, // take the write lock at BEGIN, so that what was read stays true
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)"},
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
	if err := checkSQLite(ctx, db); err != nil {
		db.Close() // nothing was written
		return nil, err
	}
	if _, err := db.ExecContext(ctx, sqliteSchema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &sqlLedger{db: db, isolation: sql.LevelSerializable, now: time.Now}, nil
}

// checkSQLite refuses a database that is damaged: truncated, or overwritten.
func checkSQLite(ctx context.Context, db *sql.DB) error {
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		verdict = strings.TrimPrefix(verdict, "*** in database main ***")
		return fmt.Errorf("it is damaged: %s", strings.Join(strings.Fields(verdict), " "))
	}
	return nil
}
