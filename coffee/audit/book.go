package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"example.com/coffee/coffee"
)

// Row is a row of the ledger as it stands in the database, whether or not it
// makes sense.
type Row struct {
	Number     int64 // ascending in the order in which rows were written
	OrderID    string
	Kind       coffee.EntryKind
	Amount     coffee.Cents
	RunID      string
	RecordedAt time.Time // by the clock of the worker that wrote it
}

func (r Row) String() string {
	return fmt.Sprintf("row %d: %s of %s by run %s at %s", r.Number, r.Kind, r.Amount, r.RunID, r.RecordedAt.Format(time.RFC3339Nano))
}

// Book is a ledger that is opened for reading only.
type Book struct {
	db *sql.DB
	// number is the column that tells in which order rows were written.
	number string
	// safeguards returns what the database lacks of what it should refuse with.
	safeguards func(ctx context.Context, db *sql.DB) (missing []string, err error)
}

// OpenBook opens the ledger in a SQLite file, or at a postgres:// URL. It
// creates nothing, and nothing that is done with it can change the ledger.
func OpenBook(ctx context.Context, where string) (*Book, error) {
	var book *Book
	if coffee.IsPostgresURL(where) {
		config, err := pgx.ParseConfig(where)
		if err != nil {
			return nil, fmt.Errorf("cannot read the ledger: %w", err)
		}
		config.RuntimeParams["default_transaction_read_only"] = "on"
		book = &Book{db: stdlib.OpenDB(*config), number: "entry_id", safeguards: postgresSafeguards}
	} else {
		absolute, err := filepath.Abs(where)
		if err != nil {
			return nil, fmt.Errorf("cannot read the ledger: %w", err)
		}
		db, err := sql.Open("sqlite", sqliteDSN(absolute))
		if err != nil {
			return nil, fmt.Errorf("cannot read the ledger: %w", err)
		}
		book = &Book{db: db, number: "rowid", safeguards: sqliteSafeguards}
	}
	if _, _, err := book.read(ctx, "no order has this id"); err != nil {
		return nil, errors.Join(err, book.Close())
	}
	return book, nil
}

func sqliteDSN(absolute string) string {
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(absolute), RawQuery: "mode=ro&_pragma=busy_timeout(5000)"}
	return dsn.String()
}

// Close releases the database.
func (b *Book) Close() error { return b.db.Close() }

// all returns all rows, and their net as the database adds it up.
func (b *Book) all(ctx context.Context) ([]Row, coffee.Cents, error) { return b.read(ctx, "") }

// of returns the rows of one order.
func (b *Book) of(ctx context.Context, orderID string) ([]Row, error) {
	rows, _, err := b.read(ctx, orderID)
	return rows, err
}

func (b *Book) read(ctx context.Context, orderID string) (_ []Row, net coffee.Cents, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot read the ledger: %w", err)
		}
	}()
	rows, err := b.db.QueryContext(ctx, `
		SELECT `+b.number+`, order_id, kind, amount_cents, run_id, recorded_at,
			SUM(CASE kind WHEN 'charge' THEN amount_cents WHEN 'refund' THEN -amount_cents ELSE 0 END) OVER ()
		FROM ledger_entries WHERE $1 = '' OR order_id = $1 ORDER BY 1`, orderID)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	var read []Row
	for rows.Next() {
		var row Row
		var recordedAt string
		if err := rows.Scan(&row.Number, &row.OrderID, &row.Kind, &row.Amount, &row.RunID, &recordedAt, &net); err != nil {
			return nil, 0, err
		}
		// A time that cannot be read is the zero time.
		row.RecordedAt, _ = time.Parse(time.RFC3339Nano, recordedAt)
		read = append(read, row)
	}
	return read, net, rows.Err()
}

// sqliteSafeguards compares what guards the table with what guards that of a
// new ledger.
func sqliteSafeguards(ctx context.Context, db *sql.DB) (_ []string, err error) {
	dir, err := os.MkdirTemp("", "coffee-audit-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "ledger.db")
	ledger, err := coffee.OpenLedger(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := ledger.Close(); err != nil {
		return nil, err
	}
	pristine, err := sql.Open("sqlite", sqliteDSN(path))
	if err != nil {
		return nil, err
	}
	defer pristine.Close()
	const query = `SELECT type || ' ' || name || COALESCE(': ' || sql, '') FROM sqlite_master WHERE tbl_name = 'ledger_entries'`
	want, err := texts(ctx, pristine, query)
	if err != nil {
		return nil, err
	}
	got, err := texts(ctx, db, query)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, object := range want {
		if !slices.Contains(got, object) {
			name, _, _ := strings.Cut(object, ":")
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// postgresSafeguards looks for what guards the table, by name, and whether it is
// in force.
func postgresSafeguards(ctx context.Context, db *sql.DB) ([]string, error) {
	return texts(ctx, db, `
		WITH ledger AS (SELECT oid FROM pg_class WHERE relname = 'ledger_entries' AND pg_table_is_visible(oid)),
		in_force (name) AS (
			SELECT conname FROM pg_constraint WHERE conrelid IN (SELECT oid FROM ledger) AND convalidated
			UNION SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
				WHERE indrelid IN (SELECT oid FROM ledger) AND indisunique AND indisvalid
			UNION SELECT tgname FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM ledger) AND tgenabled IN ('O', 'A')
		)
		SELECT name FROM unnest(ARRAY[
			'ledger_entries_pkey', 'ledger_entries_first', 'ledger_entries_key', 'ledger_entries_refund',
			'ledger_entries_amount', 'ledger_entries_kind_check', 'ledger_entries_append_only']) AS name
		WHERE name NOT IN (SELECT name::text FROM in_force)
		UNION ALL SELECT tgname::text FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM ledger) AND tgisinternal AND tgenabled NOT IN ('O', 'A')`)
}

func texts(ctx context.Context, db *sql.DB, query string) ([]string, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var read []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		read = append(read, text)
	}
	return read, rows.Err()
}
