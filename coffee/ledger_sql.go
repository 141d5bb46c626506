package coffee

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

//go:embed ledger_sqlite.sql
var sqliteSchema string

// sqlLedger is a [Ledger] in a SQL database. Its statements are plain SQL with
// $1 for parameters; only opening a database differs from engine to engine.
type sqlLedger struct {
	db *sql.DB
}

var _ Ledger = (*sqlLedger)(nil)

// OpenLedger opens the ledger in the SQLite database file path, which it
// creates, readable by its owner alone, if there is none. The directory must
// exist. Several processes of one machine may share the file.
func OpenLedger(ctx context.Context, path string) (Ledger, error) {
	// SQLite would create the file readable by all. Its WAL inherits the mode.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the ledger: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("cannot open the ledger: %w", err)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the ledger: %w", err)
	}
	// FULL: what was committed survives a power loss, as on the Temporal
	// server; otherwise the two could disagree about a charge.
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(absolute), RawQuery: url.Values{
		"_txlock": {"immediate"}, // take the write lock at BEGIN, so that what was read stays true
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)"},
	}.Encode()}
	ledger, err := openSQLite(ctx, dsn.String())
	if err != nil {
		return nil, fmt.Errorf("cannot open the ledger %s: %w", path, err)
	}
	return ledger, nil
}

// OpenMemoryLedger opens a new ledger that is gone when it is closed.
func OpenMemoryLedger(ctx context.Context) (Ledger, error) {
	return openSQLite(ctx, "file::memory:")
}

func openSQLite(ctx context.Context, dsn string) (Ledger, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	// SQLite has one writer at a time anyway, and an in-memory database lives
	// and dies with its one connection.
	db.SetMaxOpenConns(1)
	db.SetConnMaxIdleTime(0)
	if _, err := db.ExecContext(ctx, sqliteSchema); err != nil {
		db.Close()
		return nil, err
	}
	return &sqlLedger{db: db}, nil
}

// Close implements [Ledger].
func (l *sqlLedger) Close() error { return l.db.Close() }

// Charge implements [Ledger].
func (l *sqlLedger) Charge(ctx context.Context, charge Charge) (Entry, error) {
	if charge.OrderID == "" || charge.RunID == "" || charge.Amount <= 0 {
		return Entry{}, ErrInvalidEntry
	}
	return l.record(ctx, charge.OrderID, func(book orderBook) (*Entry, error) {
		existing := book.charge
		switch {
		case existing != nil && existing.RunID != charge.RunID:
			return nil, ErrDuplicateOrder
		case existing != nil && existing.Amount != charge.Amount:
			return nil, ErrAmountConflict
		case book.closing != nil:
			return nil, ErrClosed
		case existing != nil:
			return existing, nil
		}
		return &Entry{OrderID: charge.OrderID, Kind: EntryCharge, Amount: charge.Amount, RunID: charge.RunID}, nil
	})
}

// Refund implements [Ledger].
func (l *sqlLedger) Refund(ctx context.Context, orderID, runID string) (Entry, error) {
	if orderID == "" || runID == "" {
		return Entry{}, ErrInvalidEntry
	}
	return l.record(ctx, orderID, func(book orderBook) (*Entry, error) {
		switch {
		case book.charge != nil && book.charge.RunID != runID:
			return nil, ErrDuplicateOrder
		case book.closing != nil:
			return book.closing, nil
		case book.charge != nil:
			return &Entry{OrderID: orderID, Kind: EntryRefund, Amount: book.charge.Amount, RunID: runID}, nil
		}
		return &Entry{OrderID: orderID, Kind: EntryVoid, RunID: runID}, nil
	})
}

// orderBook is what the ledger holds of one order.
type orderBook struct {
	charge  *Entry
	closing *Entry // the refund or the void
}

// record lets decide look at the order's entries, and appends the entry that
// it returns unless that one is in the ledger already. All of it is one
// transaction that nobody else writes in between.
func (l *sqlLedger) record(ctx context.Context, orderID string, decide func(orderBook) (*Entry, error)) (Entry, error) {
	tx, err := l.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
	if err != nil {
		return Entry{}, fmt.Errorf("ledger: %w", err)
	}
	defer tx.Rollback() // does nothing after Commit

	entries, err := queryEntries(ctx, tx, orderID)
	if err != nil {
		return Entry{}, err
	}
	var book orderBook
	for i := range entries {
		if entries[i].Kind == EntryCharge {
			book.charge = &entries[i]
		} else {
			book.closing = &entries[i]
		}
	}
	entry, err := decide(book)
	if err != nil {
		return Entry{}, err
	}
	if !entry.RecordedAt.IsZero() { // it came out of the ledger
		return *entry, nil
	}
	entry.RecordedAt = time.Now().UTC()
	if _, err := tx.ExecContext(ctx,
		`INSERT INTO ledger_entries (order_id, kind, amount_cents, run_id, recorded_at) VALUES ($1, $2, $3, $4, $5)`,
		entry.OrderID, string(entry.Kind), int64(entry.Amount), entry.RunID, entry.RecordedAt.Format(time.RFC3339Nano),
	); err != nil {
		return Entry{}, fmt.Errorf("ledger: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return Entry{}, fmt.Errorf("ledger: %w", err)
	}
	return *entry, nil
}

// Entries implements [Ledger].
func (l *sqlLedger) Entries(ctx context.Context, orderID string) ([]Entry, error) {
	return queryEntries(ctx, l.db, orderID)
}

// queryEntries relies on a charge being older than the entry that closes it,
// and on "charge" sorting before "refund" and "void".
func queryEntries(ctx context.Context, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, orderID string) ([]Entry, error) {
	rows, err := db.QueryContext(ctx,
		`SELECT order_id, kind, amount_cents, run_id, recorded_at FROM ledger_entries WHERE order_id = $1 ORDER BY kind`, orderID)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	defer rows.Close()
	var entries []Entry
	for rows.Next() {
		var e Entry
		var recordedAt string
		if err := rows.Scan(&e.OrderID, &e.Kind, &e.Amount, &e.RunID, &recordedAt); err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
		if e.RecordedAt, err = time.Parse(time.RFC3339Nano, recordedAt); err != nil {
			return nil, fmt.Errorf("ledger: order %s: %w", Quote(orderID), err)
		}
		entries = append(entries, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return entries, nil
}

// Balance implements [Ledger].
func (l *sqlLedger) Balance(ctx context.Context) (Balance, error) {
	rows, err := l.db.QueryContext(ctx, `SELECT kind, COUNT(*), SUM(amount_cents) FROM ledger_entries GROUP BY kind`)
	if err != nil {
		return Balance{}, fmt.Errorf("ledger: %w", err)
	}
	defer rows.Close()
	var balance Balance
	for rows.Next() {
		var kind EntryKind
		var count int64
		var sum Cents
		if err := rows.Scan(&kind, &count, &sum); err != nil {
			return Balance{}, fmt.Errorf("ledger: %w", err)
		}
		switch kind {
		case EntryCharge:
			balance.Charges, balance.Charged = count, sum
		case EntryRefund:
			balance.Refunds, balance.Refunded = count, sum
		case EntryVoid:
			balance.Voids = count
		}
	}
	if err := rows.Err(); err != nil {
		return Balance{}, fmt.Errorf("ledger: %w", err)
	}
	return balance, nil
}
