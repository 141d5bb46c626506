package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
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
	number     string
	safeguards safeguards

	id    string
	owner ledger.Owner
}

// OpenBook opens the ledger at where, the path of a SQLite file or a postgres://
// URL. Nothing done with the book can change the ledger. It returns [ledger.ErrNoLedger]
// if there is no ledger.
func OpenBook(ctx context.Context, where string) (*Book, error) {
	databaseURL, err := ledger.PostgresURL(where)
	if err != nil {
		return nil, cannotReadBook(err)
	}
	var book *Book
	if databaseURL != "" {
		book, err = openPostgres(ctx, databaseURL)
	} else {
		book, err = openSQLite(ctx, where)
	}
	if err == nil {
		err = book.identify(ctx)
	}
	if err != nil && databaseURL != "" {
		err = ledger.InWords(err)
	}
	if err != nil && book != nil {
		err = errors.Join(err, book.Close())
	}
	if err != nil {
		return nil, cannotReadBook(err)
	}
	return book, nil
}

// identify reads which ledger it is and whose, and checks that its rows can be read.
func (b *Book) identify(ctx context.Context) error {
	return b.view(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, `SELECT ledger_id FROM `+b.in+`ledger_schema`).Scan(&b.id); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, `SELECT namespace_id, namespace FROM `+b.in+`ledger_owner`).Scan(&b.owner.NamespaceID, &b.owner.Namespace)
		if err == nil || errors.Is(err, sql.ErrNoRows) { // it was never used
			err = b.scan(ctx, tx, func(Row) error { return nil }, "order_id = $1", "no order has this id")
		}
		return err
	})
}

func openSQLite(ctx context.Context, where string) (*Book, error) {
	absolute, err := filepath.Abs(where)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", sqlitefile.DSN(absolute, "ro", map[string]string{"busy_timeout": "5000"})) // milliseconds
	if err != nil {
		return nil, err
	}
	book := &Book{db: db, number: "rowid", safeguards: safeguards{query: sqliteQuery, want: sqliteDefinitions}}
	return book, book.view(ctx, func(tx *sql.Tx) error { return ledger.CheckSQLite(ctx, tx) })
}

func openPostgres(ctx context.Context, databaseURL string) (*Book, error) {
	config, err := ledger.ParsePostgres(databaseURL)
	if err != nil {
		return nil, err
	}
	book := &Book{db: stdlib.OpenDB(*config), number: "entry_id"}
	return book, book.view(ctx, func(tx *sql.Tx) error {
		schema, err := ledger.Schema(ctx, tx)
		if err != nil {
			return err
		}
		quoted := pgx.Identifier{schema}.Sanitize()
		book.in = quoted + "."
		book.begin = `SET LOCAL search_path = ` + quoted + `, pg_temp; SET LOCAL standard_conforming_strings = on; SET LOCAL quote_all_identifiers = off`
		book.safeguards = safeguards{query: postgresQuery, args: []any{schema}, want: postgresDefinitions}
		return ledger.CheckPostgres(ctx, tx, schema)
	})
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
		missing, err = b.safeguards.missing(ctx, tx)
		return err
	})
	return missing, cannotReadBook(err)
}

// each calls do with the rows of one order after the other. A ledger is never shortened, so
// its rows may be more than fit in memory.
func (b *Book) each(ctx context.Context, do func(orderID string, rows []Row) error) error {
	var rows []Row
	var failed error // of do
	err := b.view(ctx, func(tx *sql.Tx) error {
		return b.scan(ctx, tx, func(row Row) error {
			if len(rows) > 0 && rows[0].OrderID != row.OrderID {
				failed = do(rows[0].OrderID, rows)
				rows = nil
			}
			rows = append(rows, row)
			return failed
		}, "true")
	})
	if err == nil && len(rows) > 0 {
		failed = do(rows[0].OrderID, rows)
	}
	if failed != nil {
		return failed
	}
	return cannotReadBook(err)
}

// of returns the rows of one order.
func (b *Book) of(ctx context.Context, orderID string) (rows []Row, err error) {
	err = b.view(ctx, func(tx *sql.Tx) error {
		return b.scan(ctx, tx, func(row Row) error {
			rows = append(rows, row)
			return nil
		}, "order_id = $1", orderID)
	})
	return rows, cannotReadBook(err)
}

func cannotReadBook(err error) error {
	if err != nil {
		err = fmt.Errorf("cannot read the ledger: %w", err)
	}
	return err
}

// scan calls do with the rows that a condition selects, order by order: an order's entries
// in the sequence in which they were written, then its delivery.
func (b *Book) scan(ctx context.Context, tx *sql.Tx, do func(Row) error, condition string, args ...any) error {
	found, err := tx.QueryContext(ctx, `
		SELECT `+b.number+`, order_id, kind, amount_cents, run_id, recorded_at, 0 FROM `+b.in+`ledger_entries WHERE `+condition+`
		UNION ALL
		SELECT 0, order_id, 'delivery', 0, run_id, recorded_at, 1 FROM `+b.in+`ledger_deliveries WHERE `+condition+`
		ORDER BY 2, 7, 1`, args...)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var row Row
		var recordedAt string
		var last int
		if err := found.Scan(&row.Number, &row.OrderID, &row.Kind, &row.Amount, &row.RunID, &recordedAt, &last); err != nil {
			return err
		}
		// An unreadable time becomes the zero time.
		row.RecordedAt, _ = time.Parse(time.RFC3339Nano, recordedAt)
		if err := do(row); err != nil {
			return err
		}
	}
	return found.Err()
}
