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

// engine is what differs between databases.
type engine struct {
	// steps[i] makes version i+1 of the schema of version i. What a released step does
	// never changes.
	steps []string
	// in, unless empty, is the schema that has the tables, quoted and with a dot. With
	// it in front of each name, no setting of a session can bend them.
	in string
	// tables is a query for the names of the tables that exist, among others.
	tables string
	// lock, unless empty, begins the transaction that migrates. It lets only one at a time
	// do so; the others wait.
	lock string
	// args are the parameters of tables and lock.
	args []any
	// place is an expression over ledger_schema that says which ledger it is, and which
	// copy.
	place string
	// lockOrder, unless empty, is the first statement of a transaction that writes.
	// It lets only one transaction at a time work on an order. Its parameter is the
	// order id.
	lockOrder string
	// probe writes something that changes nothing; id is one that no order has. If it
	// returns errProbed, the transaction is rolled back and has served its purpose.
	probe func(ctx context.Context, tx *sql.Tx, in, id string) error
	// inWords says in words what an error of the database means.
	inWords func(error) error
}

// isolation is that of transactions that write. SQLite has but one, which is stricter.
var isolation = &sql.TxOptions{Isolation: sql.LevelReadCommitted}

// sqlLedger is a [Store] in a SQL database. Its statements are plain SQL with $1 for
// parameters.
type sqlLedger struct {
	engine
	db *sql.DB
	// id is the ledger's own, and opened its place when it was opened.
	id, opened string
	// inPlace returns an error if what is written now would be lost, because the database
	// is not where the next process will look for it.
	inPlace func() error
	now     func() time.Time
}

var _ Store = (*sqlLedger)(nil)

// open returns the ledger in a database, whose schema it brings to the version that this
// program knows; see [engine.migrate].
func (e engine) open(ctx context.Context, db *sql.DB, create bool, s settings) (*sqlLedger, error) {
	if err := e.migrate(ctx, db, create); err != nil {
		return nil, err
	}
	l := &sqlLedger{engine: e, db: db, now: s.now, inPlace: func() error { return nil }}
	return l, db.QueryRowContext(ctx, `SELECT ledger_id, `+e.place+` FROM `+e.in+`ledger_schema`).Scan(&l.id, &l.opened)
}

// Close implements [Store].
func (l *sqlLedger) Close() error { return l.db.Close() }

// ID implements [Store].
func (l *sqlLedger) ID() string { return l.id }

// Bind implements [Store].
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

// Ready implements [Store].
func (l *sqlLedger) Ready(ctx context.Context) error {
	id := "ready " + rand.Text() // a space is in no order's id
	err := l.write(ctx, id, func(tx *sql.Tx, _ account) error { return l.probe(ctx, tx, l.in, id) })
	if errors.Is(err, errProbed) {
		return nil
	}
	return err
}

// Charge implements [coffee.Ledger].
func (l *sqlLedger) Charge(ctx context.Context, charge coffee.Charge) (entry coffee.Entry, err error) {
	if charge.OrderID == "" || charge.RunID == "" || charge.Amount <= 0 {
		return entry, coffee.ErrInvalidEntry
	}
	err = l.write(ctx, charge.OrderID, func(tx *sql.Tx, a account) error {
		switch {
		case a.charge != nil && a.charge.RunID != charge.RunID:
			return coffee.ErrDuplicateOrder
		case a.charge != nil && a.charge.Amount != charge.Amount:
			return coffee.ErrAmountConflict
		case a.closing != nil:
			return coffee.ErrSettled
		case a.charge != nil:
			entry = *a.charge
			return nil
		}
		entry = coffee.Entry{OrderID: charge.OrderID, Kind: coffee.EntryCharge, Amount: charge.Amount, RunID: charge.RunID}
		return l.append(ctx, tx, &entry)
	})
	return entry, err
}

// Refund implements [coffee.Ledger].
func (l *sqlLedger) Refund(ctx context.Context, orderID, runID string) (entry coffee.Entry, err error) {
	if orderID == "" || runID == "" {
		return entry, coffee.ErrInvalidEntry
	}
	err = l.write(ctx, orderID, func(tx *sql.Tx, a account) error {
		entry = coffee.Entry{OrderID: orderID, Kind: coffee.EntryVoid, RunID: runID}
		switch {
		case a.charge != nil && a.charge.RunID != runID:
			return coffee.ErrDuplicateOrder
		case a.delivered:
			return coffee.ErrDelivered
		case a.closing != nil:
			entry = *a.closing
			return nil
		case a.charge != nil:
			entry.Kind, entry.Amount = coffee.EntryRefund, a.charge.Amount
		}
		return l.append(ctx, tx, &entry)
	})
	return entry, err
}

// append writes an entry, at this moment.
func (l *sqlLedger) append(ctx context.Context, tx *sql.Tx, e *coffee.Entry) error {
	e.RecordedAt = l.timestamp()
	_, err := tx.ExecContext(ctx,
		`INSERT INTO `+l.in+`ledger_entries (order_id, kind, amount_cents, run_id, recorded_at) VALUES ($1, $2, $3, $4, $5)`,
		e.OrderID, string(e.Kind), int64(e.Amount), e.RunID, e.RecordedAt.Format(time.RFC3339Nano))
	return err
}

// Deliver implements [coffee.Ledger].
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

// Paid implements [coffee.Ledger].
func (l *sqlLedger) Paid(ctx context.Context, orderID string) (delivered bool, err error) {
	if orderID == "" {
		return false, coffee.ErrInvalidEntry
	}
	if err = l.inPlace(); err != nil {
		return false, inLedger(err)
	}
	a, err := l.readAccount(ctx, l.db, orderID)
	if err != nil {
		return false, inLedger(err)
	}
	return a.delivered, a.paid()
}

// inLedger says of an error that it comes from the ledger; nil stays nil.
func inLedger(err error) error {
	if err != nil {
		err = fmt.Errorf("ledger: %w", err)
	}
	return err
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

// write runs do in a transaction, during which nothing else writes to the order.
func (l *sqlLedger) write(ctx context.Context, orderID string, do func(tx *sql.Tx, a account) error) (err error) {
	defer func() {
		if err != nil && !coffee.IsRefusal(err) {
			err = inLedger(l.inWords(err))
		}
	}()
	if err := l.inPlace(); err != nil {
		return err
	}
	tx, err := l.db.BeginTx(ctx, isolation)
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
	return l.inPlace() // it may have been moved meanwhile
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
	err = db.QueryRowContext(ctx, `SELECT version, `+l.place+`, EXISTS (SELECT 1 FROM `+l.in+`ledger_deliveries WHERE order_id = $1) FROM `+l.in+`ledger_schema`, orderID).
		Scan(&version, &place, &a.delivered)
	switch {
	case err != nil:
		return a, err
	case version > len(l.steps): // a newer program has migrated the schema meanwhile
		return a, l.checkVersion(version)
	case place != l.opened:
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

// Entries implements [coffee.Ledger].
func (l *sqlLedger) Entries(ctx context.Context, orderID string) ([]coffee.Entry, error) {
	entries, err := l.queryEntries(ctx, l.db, orderID)
	return entries, inLedger(err)
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

// Balance implements [Store].
func (l *sqlLedger) Balance(ctx context.Context) (b Balance, err error) {
	err = l.db.QueryRowContext(ctx, `SELECT
		COUNT(CASE kind WHEN 'charge' THEN 1 END), COUNT(CASE kind WHEN 'refund' THEN 1 END), COUNT(CASE kind WHEN 'void' THEN 1 END),
		COALESCE(SUM(CASE kind WHEN 'charge' THEN amount_cents END), 0), COALESCE(SUM(CASE kind WHEN 'refund' THEN amount_cents END), 0)
		FROM `+l.in+`ledger_entries`).Scan(&b.Charges, &b.Refunds, &b.Voids, &b.Charged, &b.Refunded)
	return b, inLedger(err)
}
