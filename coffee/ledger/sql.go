package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/text"
)

// sqlLedger is a [coffee.Store] in a SQL database. Its statements are plain SQL
// with $1 for parameters. What differs between engines is set when it is opened.
type sqlLedger struct {
	db *sql.DB
	// in, unless empty, is the schema that has the tables, quoted and with a dot. With
	// it in front of each name, no setting of a session can bend them.
	in string
	// version is that of the schema that this program knows.
	version int
	// id is the ledger's own, and placeOf the expression over ledger_schema that says
	// which ledger it is, and which copy; place is what it was when it was opened.
	id, placeOf, place string
	// isolation is the isolation level of transactions that write.
	isolation sql.IsolationLevel
	// lockOrder, unless empty, is the first statement of a transaction that writes.
	// It lets only one transaction at a time work on an order. Its parameter is the
	// order id.
	lockOrder string
	// inPlace, unless nil, returns an error if what is written now would be lost,
	// because the database is not where the next process will look for it.
	inPlace func() error
	// probe writes something that changes nothing; id is one that no order has. If it
	// returns errProbed, the transaction is rolled back and has served its purpose.
	probe func(ctx context.Context, tx *sql.Tx, in, id string) error
	// inWords, unless nil, says in words what an error of the database means.
	inWords func(error) error
	now     func() time.Time
}

var _ Store = (*sqlLedger)(nil)

// Close implements [coffee.Store].
func (l *sqlLedger) Close() error { return l.db.Close() }

// ID implements [coffee.Store].
func (l *sqlLedger) ID() string { return l.id }

// Bind implements [coffee.Store].
func (l *sqlLedger) Bind(ctx context.Context, owner Owner) error {
	var is Owner
	err := l.write(ctx, "", func(tx *sql.Tx, _ account) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO `+l.in+`ledger_owner (namespace_id, namespace)
			SELECT CAST($1 AS TEXT), CAST($2 AS TEXT) WHERE NOT EXISTS (SELECT 1 FROM `+l.in+`ledger_owner) ON CONFLICT DO NOTHING`,
			owner.NamespaceID, owner.Namespace); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT namespace_id, namespace FROM `+l.in+`ledger_owner`).Scan(&is.NamespaceID, &is.Namespace)
	})
	if err != nil {
		return err
	}
	return is.Check(owner)
}

var errProbed = errors.New("the ledger can be written")

// Ready implements [coffee.Store].
func (l *sqlLedger) Ready(ctx context.Context) error {
	id := "ready " + rand.Text() // a space is in no order's id
	err := l.write(ctx, id, func(tx *sql.Tx, _ account) error { return l.probe(ctx, tx, l.in, id) })
	if errors.Is(err, errProbed) {
		return nil
	}
	return err
}

// Charge implements [coffee.Store].
func (l *sqlLedger) Charge(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
	if charge.OrderID == "" || charge.RunID == "" || charge.Amount <= 0 {
		return coffee.Entry{}, coffee.ErrInvalidEntry
	}
	return l.record(ctx, charge.OrderID, func(a account) (*coffee.Entry, error) {
		existing := a.charge
		switch {
		case existing != nil && existing.RunID != charge.RunID:
			return nil, coffee.ErrDuplicateOrder
		case existing != nil && existing.Amount != charge.Amount:
			return nil, coffee.ErrAmountConflict
		case a.closing != nil:
			return nil, coffee.ErrSettled
		case existing != nil:
			return existing, nil
		}
		return &coffee.Entry{OrderID: charge.OrderID, Kind: coffee.EntryCharge, Amount: charge.Amount, RunID: charge.RunID}, nil
	})
}

// Refund implements [coffee.Store].
func (l *sqlLedger) Refund(ctx context.Context, orderID, runID string) (coffee.Entry, error) {
	if orderID == "" || runID == "" {
		return coffee.Entry{}, coffee.ErrInvalidEntry
	}
	return l.record(ctx, orderID, func(a account) (*coffee.Entry, error) {
		switch {
		case a.charge != nil && a.charge.RunID != runID:
			return nil, coffee.ErrDuplicateOrder
		case a.delivered:
			return nil, coffee.ErrDelivered
		case a.closing != nil:
			return a.closing, nil
		case a.charge != nil:
			return &coffee.Entry{OrderID: orderID, Kind: coffee.EntryRefund, Amount: a.charge.Amount, RunID: runID}, nil
		}
		return &coffee.Entry{OrderID: orderID, Kind: coffee.EntryVoid, RunID: runID}, nil
	})
}

// Deliver implements [coffee.Store].
func (l *sqlLedger) Deliver(ctx context.Context, orderID string) error {
	if orderID == "" {
		return coffee.ErrInvalidEntry
	}
	return l.write(ctx, orderID, func(tx *sql.Tx, a account) error {
		if err := a.paid(); err != nil || a.delivered {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO `+l.in+`ledger_deliveries (order_id, run_id, recorded_at) VALUES ($1, $2, $3)`,
			orderID, a.charge.RunID, l.timestamp().Format(time.RFC3339Nano))
		return err
	})
}

// Paid implements [coffee.Store].
func (l *sqlLedger) Paid(ctx context.Context, orderID string) (delivered bool, err error) {
	if orderID == "" {
		return false, coffee.ErrInvalidEntry
	}
	if err := l.checkPlace(); err != nil {
		return false, fmt.Errorf("ledger: %w", err)
	}
	a, err := l.readAccount(ctx, l.db, orderID)
	if err != nil {
		return false, fmt.Errorf("ledger: %w", err)
	}
	return a.delivered, a.paid()
}

// account is what the ledger holds for one order.
type account struct {
	charge    *coffee.Entry
	closing   *coffee.Entry // the refund or the void
	delivered bool
}

// paid returns nil if a charge stands.
func (a account) paid() error {
	switch {
	case a.closing != nil:
		return coffee.ErrSettled
	case a.charge == nil:
		return coffee.ErrNotCharged
	}
	return nil
}

// record lets decide look at the order's entries. It appends the entry that decide
// returns, unless that entry is already in the ledger.
func (l *sqlLedger) record(ctx context.Context, orderID string, decide func(account) (*coffee.Entry, error)) (recorded coffee.Entry, err error) {
	err = l.write(ctx, orderID, func(tx *sql.Tx, a account) error {
		entry, err := decide(a)
		if err != nil {
			return err
		}
		if entry.RecordedAt.IsZero() { // it is not from the ledger
			entry.RecordedAt = l.timestamp()
			if _, err := tx.ExecContext(ctx,
				`INSERT INTO `+l.in+`ledger_entries (order_id, kind, amount_cents, run_id, recorded_at) VALUES ($1, $2, $3, $4, $5)`,
				entry.OrderID, string(entry.Kind), int64(entry.Amount), entry.RunID, entry.RecordedAt.Format(time.RFC3339Nano),
			); err != nil {
				return err
			}
		}
		recorded = *entry
		return nil
	})
	if err != nil {
		return coffee.Entry{}, err
	}
	return recorded, nil
}

// write runs do in a transaction, during which nothing else writes to the order.
func (l *sqlLedger) write(ctx context.Context, orderID string, do func(tx *sql.Tx, a account) error) (err error) {
	defer func() {
		if err != nil && !coffee.IsRefusal(err) {
			if l.inWords != nil {
				err = l.inWords(err)
			}
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
	a, err := l.readAccount(ctx, tx, orderID)
	if err != nil {
		return err
	}
	if err := do(tx, a); err != nil {
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
	return l.now().UTC().Truncate(time.Microsecond) // PostgreSQL keeps no finer time
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// readAccount reads what the ledger holds for an order, and checks that it is the ledger
// that was opened. It reads deliveries first, for calls outside a transaction that locks
// the order: whatever is recorded in between then makes the answer stricter, not laxer.
func (l *sqlLedger) readAccount(ctx context.Context, db querier, orderID string) (a account, err error) {
	var version int
	var place string
	err = db.QueryRowContext(ctx, `SELECT version, `+l.placeOf+`, EXISTS (SELECT 1 FROM `+l.in+`ledger_deliveries WHERE order_id = $1) FROM `+l.in+`ledger_schema`, orderID).
		Scan(&version, &place, &a.delivered)
	switch {
	case err != nil:
		return a, err
	case version > l.version: // a newer program has migrated the schema meanwhile
		return a, checkVersion(version, l.version)
	case place != l.place:
		return a, errors.New("its tables were replaced while it was open: put them back, or start the worker again")
	}
	entries, err := l.queryEntries(ctx, db, orderID)
	if err != nil {
		return a, err
	}
	for i := range entries {
		if entries[i].Kind == coffee.EntryCharge {
			a.charge = &entries[i]
		} else {
			a.closing = &entries[i]
		}
	}
	return a, nil
}

// Entries implements [coffee.Store].
func (l *sqlLedger) Entries(ctx context.Context, orderID string) ([]coffee.Entry, error) {
	entries, err := l.queryEntries(ctx, l.db, orderID)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return entries, nil
}

// queryEntries returns the entries of an order, oldest first. It relies on a charge
// being older than the entry that closes it, and on "charge" sorting before
// "refund" and "void".
func (l *sqlLedger) queryEntries(ctx context.Context, db querier, orderID string) ([]coffee.Entry, error) {
	rows, err := db.QueryContext(ctx,
		`SELECT order_id, kind, amount_cents, run_id, recorded_at FROM `+l.in+`ledger_entries WHERE order_id = $1 ORDER BY kind`, orderID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var entries []coffee.Entry
	for rows.Next() {
		var e coffee.Entry
		var recordedAt string
		if err := rows.Scan(&e.OrderID, &e.Kind, &e.Amount, &e.RunID, &recordedAt); err != nil {
			return nil, err
		}
		if e.RecordedAt, err = time.Parse(time.RFC3339Nano, recordedAt); err != nil {
			return nil, fmt.Errorf("order %s: %w", text.Quote(orderID), err)
		}
		e.RecordedAt = e.RecordedAt.UTC()
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

// Balance implements [coffee.Store].
func (l *sqlLedger) Balance(ctx context.Context) (Balance, error) {
	rows, err := l.db.QueryContext(ctx, `SELECT kind, COUNT(*), SUM(amount_cents) FROM `+l.in+`ledger_entries GROUP BY kind`)
	if err != nil {
		return Balance{}, fmt.Errorf("ledger: %w", err)
	}
	defer rows.Close()
	var balance Balance
	for rows.Next() {
		var kind coffee.EntryKind
		var count int64
		var sum coffee.Cents
		if err := rows.Scan(&kind, &count, &sum); err != nil {
			return Balance{}, fmt.Errorf("ledger: %w", err)
		}
		switch kind {
		case coffee.EntryCharge:
			balance.Charges, balance.Charged = count, sum
		case coffee.EntryRefund:
			balance.Refunds, balance.Refunded = count, sum
		case coffee.EntryVoid:
			balance.Voids = count
		}
	}
	if err := rows.Err(); err != nil {
		return Balance{}, fmt.Errorf("ledger: %w", err)
	}
	return balance, nil
}
