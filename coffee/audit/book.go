package audit

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/internal/sqlitefile"
)

// kindDelivery is the kind of a row that records that a coffee was handed out. Such
// rows are in a table of their own.
const kindDelivery coffee.EntryKind = "delivery"

// Row is a row of the ledger as it is in the database, valid or not.
type Row struct {
	Number     int64 // ascending in the order in which entries were written; 0 for a delivery
	OrderID    string
	Kind       coffee.EntryKind
	Amount     coffee.Cents
	RunID      string
	RecordedAt time.Time // by the clock of the worker that wrote it
}

func (r Row) String() string {
	return fmt.Sprintf("row %d: %s by run %s at %s", r.Number, r.what(), r.RunID, r.RecordedAt.Format(time.RFC3339Nano))
}

// what describes the row in words.
func (r Row) what() string {
	if r.Kind == kindDelivery {
		return "delivery"
	}
	return fmt.Sprintf("%s of %s", r.Kind, r.Amount)
}

// Book is a ledger that is opened for reading only.
type Book struct {
	db *sql.DB
	// in, unless empty, is the schema that has the tables, quoted and with a dot.
	in string
	// begin, unless empty, is the first statement of each transaction: whatever the
	// settings of the session are, the answers are the same.
	begin string
	// number is the column that gives the order in which entries were written.
	number string
	// safeguards returns the constraints and triggers that are missing, changed or
	// off.
	safeguards func(ctx context.Context, db querier) (missing []string, err error)

	id    string
	owner ledger.Owner
}

// querier is a transaction, or a database.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// OpenBook opens the ledger at where, the path of a SQLite file or a postgres://
// URL. Nothing done with the book can change the ledger. It returns [coffee.ErrNoLedger]
// if there is no ledger.
func OpenBook(ctx context.Context, where string) (book *Book, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot read the ledger: %w", err)
		}
	}()
	databaseURL, err := ledger.PostgresURL(where)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && databaseURL != "" {
			err = ledger.InWords(err)
		}
	}()
	if databaseURL != "" {
		book, err = openPostgres(ctx, databaseURL)
	} else {
		book, err = openSQLite(ctx, where)
	}
	if err != nil {
		return nil, err
	}
	err = book.view(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, `SELECT ledger_id FROM `+book.in+`ledger_schema`).Scan(&book.id); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, `SELECT namespace_id, namespace FROM `+book.in+`ledger_owner`).Scan(&book.owner.NamespaceID, &book.owner.Namespace)
		if errors.Is(err, sql.ErrNoRows) { // it was never used
			return nil
		}
		return err
	})
	if err == nil {
		_, err = book.of(ctx, "no order has this id")
	}
	if err != nil {
		return nil, errors.Join(err, book.Close())
	}
	return book, nil
}

func openSQLite(ctx context.Context, where string) (*Book, error) {
	absolute, err := filepath.Abs(where)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", sqliteDSN(absolute))
	if err != nil {
		return nil, err
	}
	book := &Book{db: db, number: "rowid", safeguards: sqliteSafeguards}
	if err := book.view(ctx, func(tx *sql.Tx) error { return ledger.CheckSQLite(ctx, tx) }); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return book, nil
}

func openPostgres(ctx context.Context, databaseURL string) (*Book, error) {
	config, err := ledger.ParsePostgres(databaseURL)
	if err != nil {
		return nil, err
	}
	book := &Book{db: stdlib.OpenDB(*config), number: "entry_id"}
	err = book.view(ctx, func(tx *sql.Tx) error {
		schema, err := ledger.Schema(ctx, tx)
		if err != nil {
			return err
		}
		quoted := pgx.Identifier{schema}.Sanitize()
		book.in = quoted + "."
		book.begin = `SET LOCAL search_path = ` + quoted + `, pg_temp; SET LOCAL standard_conforming_strings = on; SET LOCAL quote_all_identifiers = off`
		book.safeguards = func(ctx context.Context, db querier) ([]string, error) { return postgresSafeguards(ctx, db, schema) }
		return ledger.CheckPostgres(ctx, tx, schema)
	})
	if err != nil {
		return nil, errors.Join(err, book.Close())
	}
	return book, nil
}

func sqliteDSN(absolute string) string {
	return sqlitefile.DSN(absolute, "ro", map[string]string{"busy_timeout": "5000"}) // milliseconds
}

// ID returns the ledger's own id.
func (b *Book) ID() string { return b.id }

// Owner returns whose orders the ledger keeps; the zero value if it was never used.
func (b *Book) Owner() ledger.Owner { return b.owner }

// Close releases the database.
func (b *Book) Close() error { return b.db.Close() }

// view runs do in a read-only transaction.
func (b *Book) view(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := b.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if b.begin != "" {
		if _, err := tx.ExecContext(ctx, b.begin); err != nil {
			return err
		}
	}
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// missing returns the safeguards that the database lacks.
func (b *Book) missing(ctx context.Context) (missing []string, err error) {
	err = b.view(ctx, func(tx *sql.Tx) error {
		missing, err = b.safeguards(ctx, tx)
		return err
	})
	return missing, err
}

// each calls do with every row: entries first, in the order in which they were written,
// then deliveries. It returns the net of all entries as the database computes it. A ledger
// is never shortened, so its rows may be more than fit in memory.
func (b *Book) each(ctx context.Context, do func(Row)) (net coffee.Cents, err error) {
	err = b.view(ctx, func(tx *sql.Tx) error {
		entries := `, SUM(CASE kind WHEN 'charge' THEN amount_cents WHEN 'refund' THEN -amount_cents ELSE 0 END) OVER () ` +
			b.entries("true") + ` ORDER BY 1`
		if err := scan(ctx, tx, do, &net, `SELECT `+b.columns()+entries); err != nil {
			return err
		}
		return scan(ctx, tx, do, nil, b.deliveries("true"))
	})
	return net, cannotReadBook(err)
}

// pageOrders is how many orders are on a page.
const pageOrders = 5000

// page returns the rows of the next orders after an id, and the id of the last of these
// orders; empty if there are no more.
func (b *Book) page(ctx context.Context, after string) (read []Row, last string, err error) {
	err = b.view(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT DISTINCT order_id `+b.entries("order_id > $1")+` ORDER BY order_id LIMIT 1 OFFSET $2`, after, pageOrders-1).Scan(&last)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if last == "" {
			read, err = b.where(ctx, tx, "order_id > $1", after)
		} else {
			read, err = b.where(ctx, tx, "order_id > $1 AND order_id <= $2", after, last)
		}
		return err
	})
	return read, last, cannotReadBook(err)
}

// of returns the rows of one order.
func (b *Book) of(ctx context.Context, orderID string) (read []Row, err error) {
	err = b.view(ctx, func(tx *sql.Tx) error {
		read, err = b.where(ctx, tx, "order_id = $1", orderID)
		return err
	})
	return read, cannotReadBook(err)
}

func cannotReadBook(err error) error {
	if err != nil {
		err = fmt.Errorf("cannot read the ledger: %w", err)
	}
	return err
}

// where returns the rows that a condition on the order id selects, in the order of each.
// They come by the index of that, and are few enough to be sorted here.
func (b *Book) where(ctx context.Context, tx *sql.Tx, condition string, args ...any) (read []Row, err error) {
	add := func(row Row) { read = append(read, row) }
	if err := scan(ctx, tx, add, nil, `SELECT `+b.columns()+`, 0 `+b.entries(condition)+` ORDER BY order_id`, args...); err != nil {
		return nil, err
	}
	slices.SortStableFunc(read, func(x, y Row) int { return cmp.Compare(x.Number, y.Number) })
	err = scan(ctx, tx, add, nil, b.deliveries(condition), args...)
	return read, err
}

func (b *Book) columns() string {
	return b.number + `, order_id, kind, amount_cents, run_id, recorded_at`
}

func (b *Book) entries(condition string) string {
	return `FROM ` + b.in + `ledger_entries WHERE ` + condition
}

func (b *Book) deliveries(condition string) string {
	return `SELECT 0, order_id, 'delivery', 0, run_id, recorded_at, 0 FROM ` + b.in + `ledger_deliveries WHERE ` + condition + ` ORDER BY order_id`
}

// scan calls do with the rows that a query finds. Unless net is nil, their last column is
// that.
func scan(ctx context.Context, tx *sql.Tx, do func(Row), net *coffee.Cents, query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var ignored coffee.Cents
	for rows.Next() {
		var row Row
		var recordedAt string
		if err := rows.Scan(&row.Number, &row.OrderID, &row.Kind, &row.Amount, &row.RunID, &recordedAt, cmp.Or(net, &ignored)); err != nil {
			return err
		}
		// An unreadable time becomes the zero time.
		row.RecordedAt, _ = time.Parse(time.RFC3339Nano, recordedAt)
		do(row)
	}
	return rows.Err()
}
