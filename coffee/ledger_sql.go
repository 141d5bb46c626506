package coffee

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
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
	// inPlace, unless nil, returns an error if what is written now would be lost,
	// because the database is not where the next process will look for it.
	inPlace func() error
	now     func() time.Time
}

var _ Ledger = (*sqlLedger)(nil)

// OpenLedger opens the ledger in the PostgreSQL database with the URL where
// (postgres://...), or in the SQLite database file with the path where. What
// does not exist is created: the tables in PostgreSQL, if the role may; the
// file, readable by its owner alone, in a directory that must exist.
//
// Several processes may share a ledger; those of several machines need
// PostgreSQL.
func OpenLedger(ctx context.Context, where string) (Ledger, error) {
	return openLedgerAt(ctx, where, true)
}

// OpenExistingLedger is [OpenLedger] for a ledger that must exist: if it does
// not, it returns [ErrNoLedger] and creates nothing.
func OpenExistingLedger(ctx context.Context, where string) (Ledger, error) {
	return openLedgerAt(ctx, where, false)
}

func openLedgerAt(ctx context.Context, where string, create bool) (Ledger, error) {
	databaseURL, err := PostgresURL(where)
	if err != nil {
		return nil, fmt.Errorf("cannot open the ledger: %w", err)
	}
	if databaseURL != "" {
		return openPostgres(ctx, databaseURL, create)
	}
	return openSQLiteFile(ctx, where, create)
}

var (
	urlScheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://`)
	// keywords match the beginning of a connection string in libpq's other form.
	keywords = regexp.MustCompile(`^\s*(host|hostaddr|port|dbname|user|password|passfile|service|sslmode|connect_timeout|application_name|options|target_session_attrs)\s*=`)
)

// PostgresURL returns the URL of the PostgreSQL database that [OpenLedger] would
// open, with its scheme in lower case; empty if where is the path of a file. It
// returns an error, which does not repeat where because there may be a password
// in it, if where is neither.
func PostgresURL(where string) (string, error) {
	if where == "" {
		return "", errors.New("it has no name")
	}
	if scheme := urlScheme.FindStringSubmatch(where); scheme != nil {
		switch name := strings.ToLower(scheme[1]); name {
		case "postgres", "postgresql":
			return name + where[len(name):], nil
		default:
			return "", fmt.Errorf("%s:// is not a kind of ledger: use the path of a SQLite file or a postgres:// URL", scheme[1])
		}
	}
	if keyword := keywords.FindStringSubmatch(where); keyword != nil {
		return "", fmt.Errorf("%s=... is not a kind of ledger: write a PostgreSQL database as postgres://USER@HOST/DATABASE", keyword[1])
	}
	return "", nil
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
		case book.delivered:
			return nil, ErrDelivered
		case book.closing != nil:
			return book.closing, nil
		case book.charge != nil:
			return &Entry{OrderID: orderID, Kind: EntryRefund, Amount: book.charge.Amount, RunID: runID}, nil
		}
		return &Entry{OrderID: orderID, Kind: EntryVoid, RunID: runID}, nil
	})
}

// Deliver implements [Ledger].
func (l *sqlLedger) Deliver(ctx context.Context, orderID string) error {
	if orderID == "" {
		return ErrInvalidEntry
	}
	return l.write(ctx, orderID, func(tx *sql.Tx, book orderBook) error {
		if err := book.paid(); err != nil || book.delivered {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO ledger_deliveries (order_id, run_id, recorded_at) VALUES ($1, $2, $3)`,
			orderID, book.charge.RunID, l.timestamp().Format(time.RFC3339Nano))
		return err
	})
}

// Paid implements [Ledger].
func (l *sqlLedger) Paid(ctx context.Context, orderID string) (delivered bool, err error) {
	if orderID == "" {
		return false, ErrInvalidEntry
	}
	book, err := readBook(ctx, l.db, orderID)
	if err != nil {
		return false, err
	}
	return book.delivered, book.paid()
}

// orderBook is what the ledger holds of one order.
type orderBook struct {
	charge    *Entry
	closing   *Entry // the refund or the void
	delivered bool
}

// paid returns nil if a charge stands.
func (b orderBook) paid() error {
	switch {
	case b.closing != nil:
		return ErrClosed
	case b.charge == nil:
		return ErrNotCharged
	}
	return nil
}

// record lets decide look at the order's entries, and appends the entry that
// it returns unless that one is in the ledger already.
func (l *sqlLedger) record(ctx context.Context, orderID string, decide func(orderBook) (*Entry, error)) (recorded Entry, err error) {
	err = l.write(ctx, orderID, func(tx *sql.Tx, book orderBook) error {
		entry, err := decide(book)
		if err != nil {
			return err
		}
		if entry.RecordedAt.IsZero() { // it did not come out of the ledger
			entry.RecordedAt = l.timestamp()
			if _, err := tx.ExecContext(ctx,
				`INSERT INTO ledger_entries (order_id, kind, amount_cents, run_id, recorded_at) VALUES ($1, $2, $3, $4, $5)`,
				entry.OrderID, string(entry.Kind), int64(entry.Amount), entry.RunID, entry.RecordedAt.Format(time.RFC3339Nano),
			); err != nil {
				return err
			}
		}
		recorded = *entry
		return nil
	})
	if err != nil {
		return Entry{}, err
	}
	return recorded, nil
}

// write runs a transaction on an order that nobody else writes in between.
func (l *sqlLedger) write(ctx context.Context, orderID string, do func(tx *sql.Tx, book orderBook) error) (err error) {
	defer func() {
		if err != nil && !IsRefusal(err) {
			err = fmt.Errorf("ledger: %w", err)
		}
	}()
	if err := l.checkPlace(); err != nil {
		return err
	}
	tx, err := l.db.BeginTx(ctx, &sql.TxOptions{Isolation: l.isolation})
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit

	if l.lockOrder != "" {
		if _, err := tx.ExecContext(ctx, l.lockOrder, orderID); err != nil {
			return err
		}
	}
	book, err := readBook(ctx, tx, orderID)
	if err != nil {
		return err
	}
	if err := do(tx, book); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return l.checkPlace() // it may have been moved meanwhile
}

func (l *sqlLedger) checkPlace() error {
	if l.inPlace == nil {
		return nil
	}
	return l.inPlace()
}

func (l *sqlLedger) timestamp() time.Time {
	return l.now().UTC().Truncate(time.Microsecond) // PostgreSQL keeps no more
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// readBook reads what the ledger holds of an order. Outside of a transaction
// that locks the order, deliveries are read first: whatever is recorded in
// between then makes the answer stricter, not laxer.
func readBook(ctx context.Context, db querier, orderID string) (book orderBook, err error) {
	if err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM ledger_deliveries WHERE order_id = $1)`, orderID).Scan(&book.delivered); err != nil {
		return book, err
	}
	entries, err := queryEntries(ctx, db, orderID)
	if err != nil {
		return book, err
	}
	for i := range entries {
		if entries[i].Kind == EntryCharge {
			book.charge = &entries[i]
		} else {
			book.closing = &entries[i]
		}
	}
	return book, nil
}

// Entries implements [Ledger].
func (l *sqlLedger) Entries(ctx context.Context, orderID string) ([]Entry, error) {
	entries, err := queryEntries(ctx, l.db, orderID)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return entries, nil
}

// queryEntries relies on a charge being older than the entry that closes it,
// and on "charge" sorting before "refund" and "void".
func queryEntries(ctx context.Context, db querier, orderID string) ([]Entry, error) {
	rows, err := db.QueryContext(ctx,
		`SELECT order_id, kind, amount_cents, run_id, recorded_at FROM ledger_entries WHERE order_id = $1 ORDER BY kind`, orderID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var entries []Entry
	for rows.Next() {
		var e Entry
		var recordedAt string
		if err := rows.Scan(&e.OrderID, &e.Kind, &e.Amount, &e.RunID, &recordedAt); err != nil {
			return nil, err
		}
		if e.RecordedAt, err = time.Parse(time.RFC3339Nano, recordedAt); err != nil {
			return nil, fmt.Errorf("order %s: %w", Quote(orderID), err)
		}
		e.RecordedAt = e.RecordedAt.UTC()
		entries = append(entries, e)
	}
	return entries, rows.Err()
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
