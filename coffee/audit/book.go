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

// OpenBook opens the ledger in a SQLite file, or at a postgres:// URL. Nothing
// that is done with it can change the ledger.
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

// sqliteObjects guard the table in SQLite.
var sqliteObjects = []string{
	"table ledger_entries", "index sqlite_autoindex_ledger_entries_1",
	"trigger ledger_entries_no_update", "trigger ledger_entries_no_delete",
	"trigger ledger_entries_first", "trigger ledger_entries_refund",
}

// sqliteSafeguards compares what guards the table, word for word, with what
// guards that of a new ledger.
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
	const query = `SELECT type || ' ' || name, COALESCE(sql, 'automatic') FROM sqlite_master WHERE tbl_name = 'ledger_entries'`
	want, err := definitions(ctx, pristine, query)
	if err != nil {
		return nil, err
	}
	got, err := definitions(ctx, db, query)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, object := range sqliteObjects {
		if got[object] == "" || got[object] != want[object] {
			missing = append(missing, object)
		}
	}
	return missing, nil
}

// postgresObjects guard the table in PostgreSQL. Each is in force if its
// definition, as the database itself puts it, has this in it.
var postgresObjects = map[string]string{
	"ledger_entries_pkey":        "PRIMARY KEY (order_id, kind)",
	"ledger_entries_first":       "UNIQUE INDEX ledger_entries_first ON ledger_entries USING btree (order_id) WHERE (kind = ANY (ARRAY['charge'::text, 'void'::text]))",
	"ledger_entries_key":         "UNIQUE (order_id, kind, amount_cents, run_id)",
	"ledger_entries_refund":      "FOREIGN KEY (order_id, gives_back, amount_cents, run_id) REFERENCES ledger_entries(order_id, kind, amount_cents, run_id)",
	"ledger_entries_amount":      "CASE kind WHEN 'void'::text THEN (amount_cents = 0) ELSE (amount_cents > 0) END",
	"ledger_entries_kind_check":  "(kind = ANY (ARRAY['charge'::text, 'refund'::text, 'void'::text]))",
	"ledger_entries_append_only": "BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger_entries FOR EACH STATEMENT EXECUTE FUNCTION ledger_entries_refuse() BEGIN RAISE EXCEPTION ",
	"gives_back":                 "CASE kind WHEN 'refund'::text THEN 'charge'::text ELSE NULL::text END",
}

// postgresSafeguards asks PostgreSQL for the definitions of what guards the
// table, as far as that is in force.
func postgresSafeguards(ctx context.Context, db *sql.DB) ([]string, error) {
	got, err := definitions(ctx, db, `
		WITH ledger AS (SELECT oid, relnamespace::regnamespace::text || '.' AS schema FROM pg_class WHERE relname = 'ledger_entries' AND pg_table_is_visible(oid)),
		in_force (name, definition) AS (
			SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid IN (SELECT oid FROM ledger) AND convalidated
			UNION ALL SELECT relname, pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
				WHERE indrelid IN (SELECT oid FROM ledger) AND indisvalid AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
			UNION ALL SELECT tgname, pg_get_triggerdef(t.oid) || ' ' || prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = tgfoid
				WHERE tgrelid IN (SELECT oid FROM ledger) AND tgenabled IN ('O', 'A') AND NOT tgisinternal
			UNION ALL SELECT attname, pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
				WHERE adrelid IN (SELECT oid FROM ledger)
		)
		SELECT name::text, replace(regexp_replace(definition, '\s+', ' ', 'g'), schema, '') FROM in_force, ledger`)
	if err != nil {
		return nil, err
	}
	var missing []string
	for object, definition := range postgresObjects {
		if !strings.Contains(got[object], definition) {
			missing = append(missing, object)
		}
	}
	// Foreign keys are triggers too, which the table's owner can turn off.
	off, err := definitions(ctx, db, `SELECT tgname::text, 'off' FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
		WHERE relname = 'ledger_entries' AND pg_table_is_visible(tgrelid) AND tgisinternal AND tgenabled NOT IN ('O', 'A')`)
	if err != nil {
		return nil, err
	}
	for trigger := range off {
		missing = append(missing, trigger)
	}
	slices.Sort(missing)
	return missing, nil
}

// definitions reads names and what they stand for.
func definitions(ctx context.Context, db *sql.DB, query string) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	read := map[string]string{}
	for rows.Next() {
		var name, definition string
		if err := rows.Scan(&name, &definition); err != nil {
			return nil, err
		}
		read[name] = definition
	}
	return read, rows.Err()
}
