package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/internal/sqlitefile"
	"example.com/coffee/internal/tempdir"
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
	// number is the column that gives the order in which entries were written.
	number string
	// deliveries is false if the ledger was made by a version that did not record
	// them, and no later version has opened it.
	deliveries bool
	// safeguards returns the constraints and triggers that are missing, changed or
	// off.
	safeguards func(ctx context.Context, db querier, deliveries bool) (missing []string, err error)
}

// querier is a transaction, or a database.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// OpenBook opens the ledger at where, the path of a SQLite file or a postgres://
// URL. Nothing done with the book can change the ledger. It returns an error if
// there is no ledger.
func OpenBook(ctx context.Context, where string) (_ *Book, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot read the ledger: %w", err)
		}
	}()
	databaseURL, err := ledger.PostgresURL(where)
	if err != nil {
		return nil, err
	}
	var book *Book
	var tables string
	if databaseURL != "" {
		config, err := pgx.ParseConfig(databaseURL)
		if err != nil {
			return nil, err
		}
		config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // as the ledger does, for poolers
		book = &Book{db: stdlib.OpenDB(*config), number: "entry_id", safeguards: postgresSafeguards}
		tables = `SELECT relname::text FROM pg_class WHERE relkind = 'r' AND pg_table_is_visible(oid)`
	} else {
		absolute, err := filepath.Abs(where)
		if err != nil {
			return nil, err
		}
		db, err := sql.Open("sqlite", sqliteDSN(absolute))
		if err != nil {
			return nil, err
		}
		book = &Book{db: db, number: "rowid", safeguards: sqliteSafeguards}
		tables = `SELECT name FROM sqlite_schema WHERE type = 'table'`
	}
	err = book.view(ctx, func(tx *sql.Tx) error {
		var numbered bool
		if err := tx.QueryRowContext(ctx, `SELECT 'ledger_deliveries' IN (`+tables+`), 'ledger_schema' IN (`+tables+`)`).Scan(&book.deliveries, &numbered); err != nil || !numbered {
			return err
		}
		var version int
		if err := tx.QueryRowContext(ctx, `SELECT version FROM ledger_schema`).Scan(&version); err != nil {
			return err
		}
		return ledger.CheckVersion(version, ledger.SchemaVersion)
	})
	if err == nil {
		_, _, err = book.read(ctx, "no order has this id")
	}
	if err != nil {
		return nil, errors.Join(err, book.Close())
	}
	return book, nil
}

func sqliteDSN(absolute string) string {
	return sqlitefile.DSN(absolute, "ro", map[string]string{"busy_timeout": "5000"}) // milliseconds
}

// Close releases the database.
func (b *Book) Close() error { return b.db.Close() }

// view runs do in a read-only transaction.
func (b *Book) view(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := b.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// missing returns the safeguards that the database lacks.
func (b *Book) missing(ctx context.Context) (missing []string, err error) {
	err = b.view(ctx, func(tx *sql.Tx) error {
		missing, err = b.safeguards(ctx, tx, b.deliveries)
		return err
	})
	return missing, err
}

// all returns all rows, and their net as the database computes it.
func (b *Book) all(ctx context.Context) ([]Row, coffee.Cents, error) { return b.read(ctx, "") }

// of returns the rows of one order.
func (b *Book) of(ctx context.Context, orderID string) ([]Row, error) {
	rows, _, err := b.read(ctx, orderID)
	return rows, err
}

// read returns the rows of an order, or of all orders if the id is empty, and their
// net. Entries come first, in the order in which they were written, then
// deliveries.
func (b *Book) read(ctx context.Context, orderID string) (read []Row, net coffee.Cents, err error) {
	err = b.view(ctx, func(tx *sql.Tx) error {
		entries, err := tx.QueryContext(ctx, `
			SELECT `+b.number+`, order_id, kind, amount_cents, run_id, recorded_at,
				SUM(CASE kind WHEN 'charge' THEN amount_cents WHEN 'refund' THEN -amount_cents ELSE 0 END) OVER ()
			FROM ledger_entries WHERE $1 = '' OR order_id = $1 ORDER BY 1`, orderID)
		if err != nil {
			return err
		}
		if read, net, err = scan(entries, read); err != nil || !b.deliveries {
			return err
		}
		deliveries, err := tx.QueryContext(ctx, `
			SELECT 0, order_id, 'delivery', 0, run_id, recorded_at, 0
			FROM ledger_deliveries WHERE $1 = '' OR order_id = $1 ORDER BY order_id`, orderID)
		if err != nil {
			return err
		}
		read, _, err = scan(deliveries, read)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read the ledger: %w", err)
	}
	return read, net, nil
}

// scan appends rows to read, and returns the net in their last column.
func scan(rows *sql.Rows, read []Row) (_ []Row, net coffee.Cents, err error) {
	defer rows.Close()
	for rows.Next() {
		var row Row
		var recordedAt string
		if err := rows.Scan(&row.Number, &row.OrderID, &row.Kind, &row.Amount, &row.RunID, &recordedAt, &net); err != nil {
			return nil, 0, err
		}
		// An unreadable time becomes the zero time.
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

// sqliteDeliveryObjects guard the deliveries.
var sqliteDeliveryObjects = []string{
	"table ledger_deliveries", "index sqlite_autoindex_ledger_deliveries_1",
	"trigger ledger_deliveries_no_update", "trigger ledger_deliveries_no_delete",
	"trigger ledger_deliveries_paid", "trigger ledger_entries_delivered",
}

// sqliteSafeguards compares what guards the table, word for word, with what guards
// the table of a new ledger. It returns the objects that differ.
func sqliteSafeguards(ctx context.Context, db querier, deliveries bool) (_ []string, err error) {
	dir, err := tempdir.Make("audit")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dir.Remove()) }()
	path := filepath.Join(dir.Path(), "ledger.db")
	ledger, err := ledger.Open(ctx, path)
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
	const query = `SELECT type || ' ' || name, COALESCE(sql, 'automatic') FROM sqlite_master WHERE tbl_name IN ('ledger_entries', 'ledger_deliveries')`
	want, err := definitions(ctx, pristine, query)
	if err != nil {
		return nil, err
	}
	got, err := definitions(ctx, db, query)
	if err != nil {
		return nil, err
	}
	objects := sqliteObjects
	if deliveries || got["trigger ledger_entries_delivered"] != "" {
		objects = slices.Concat(sqliteObjects, sqliteDeliveryObjects)
	}
	var missing []string
	for _, object := range objects {
		if got[object] == "" || got[object] != want[object] {
			missing = append(missing, object)
		}
	}
	return missing, nil
}

// postgresObjects guard the table in PostgreSQL. Each is in force if its
// definition, as the database itself words it, contains this text.
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

// postgresDeliveryObjects guard the deliveries.
var postgresDeliveryObjects = map[string]string{
	"ledger_deliveries_pkey":        "PRIMARY KEY (order_id)",
	"ledger_deliveries_paid":        "BEFORE INSERT ON ledger_deliveries FOR EACH ROW EXECUTE FUNCTION ledger_deliveries_check() BEGIN PERFORM pg_advisory_xact_lock",
	"ledger_entries_delivered":      "BEFORE INSERT ON ledger_entries FOR EACH ROW WHEN ((new.kind <> 'charge'::text)) EXECUTE FUNCTION ledger_deliveries_check() BEGIN PERFORM pg_advisory_xact_lock",
	"ledger_deliveries_append_only": "BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger_deliveries FOR EACH STATEMENT EXECUTE FUNCTION ledger_entries_refuse() BEGIN RAISE EXCEPTION ",
}

// postgresSafeguards asks PostgreSQL for the definitions in force of what guards
// the table. It returns the objects that are missing, changed or off.
func postgresSafeguards(ctx context.Context, db querier, deliveries bool) ([]string, error) {
	got, err := definitions(ctx, db, `
		WITH ledger AS (SELECT oid, relnamespace::regnamespace::text || '.' AS schema FROM pg_class WHERE relname IN ('ledger_entries', 'ledger_deliveries') AND pg_table_is_visible(oid)),
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
	objects := maps.Clone(postgresObjects)
	if deliveries || got["ledger_entries_delivered"] != "" {
		maps.Copy(objects, postgresDeliveryObjects)
	}
	var missing []string
	for object, definition := range objects {
		if !strings.Contains(got[object], definition) {
			missing = append(missing, object)
		}
	}
	// Foreign keys are triggers too, which the owner of the table can turn off.
	off, err := definitions(ctx, db, `SELECT tgname::text, 'off' FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
		WHERE relname IN ('ledger_entries', 'ledger_deliveries') AND pg_table_is_visible(tgrelid) AND tgisinternal AND tgenabled NOT IN ('O', 'A')`)
	if err != nil {
		return nil, err
	}
	for trigger := range off {
		missing = append(missing, trigger)
	}
	slices.Sort(missing)
	return missing, nil
}

// definitions returns the definitions that a query finds, by name.
func definitions(ctx context.Context, db querier, query string) (map[string]string, error) {
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
