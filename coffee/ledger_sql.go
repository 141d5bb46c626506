package coffee

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// sqlLedger is a [Ledger] in a SQL database. Its statements are plain SQL with
// $1 for parameters; what differs from engine to engine is set when it is
// opened.
type sqlLedger struct {
	db *sql.DB
	// isolation is that of the transactions that write.
	isolation sql.IsolationLevel
	// lockOrder, unless empty, is the statement that such a transaction starts
	// with, so that one at a time works on an order. Its parameter is the id.
	lockOrder string
	now       func() time.Time
}

var _ Ledger = (*sqlLedger)(nil)

// OpenLedger opens a ledger: the one in the PostgreSQL database that where is
// the URL of (postgres://...), or else the one in the SQLite database file that
// where is the path of. What does not exist is created: the table in
// PostgreSQL, if the role may; the file, readable by its owner alone, in a
// directory that must exist.
//
// Several processes may share a ledger; those of several machines need
// PostgreSQL.
func OpenLedger(ctx context.Context, where string) (Ledger, error) {
	if IsPostgresURL(where) {
		return openPostgres(ctx, where)
	}
	return openSQLiteFile(ctx, where)
}

// IsPostgresURL tells whether [OpenLedger] would take it for the URL of a
// PostgreSQL database.
func IsPostgresURL(where string) bool {
	return strings.HasPrefix(where, "postgres://") || strings.HasPrefix(where, "postgresql://")
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
	tx, err := l.db.BeginTx(ctx, &sql.TxOptions{Isolation: l.isolation})
	if err != nil {
		return Entry{}, fmt.Errorf("ledger: %w", err)
	}
	defer tx.Rollback() // does nothing after Commit

	if l.lockOrder != "" {
		if _, err := tx.ExecContext(ctx, l.lockOrder, orderID); err != nil {
			return Entry{}, fmt.Errorf("ledger: %w", err)
		}
	}
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
	entry.RecordedAt = l.now().UTC().Truncate(time.Microsecond) // PostgreSQL keeps no more
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
		e.RecordedAt = e.RecordedAt.UTC()
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
