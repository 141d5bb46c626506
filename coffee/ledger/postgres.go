package ledger

import (
	"cmp"
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

//go:embed postgres.sql
var postgresSchema string

// PostgreSQL's codes for errors.
const (
	insufficientPrivilege = "42501"
	readOnlyTransaction   = "25006"
	lockNotAvailable      = "55P03"
)

const (
	// postgresPatience bounds how long it takes to open a ledger, and how long the
	// database waits for the next statement of a transaction.
	postgresPatience = 10 * time.Second
	// postgresLockTimeout bounds how long a statement waits for a lock. It is shorter
	// than an attempt of an activity, so that the attempt can say what it waited for.
	postgresLockTimeout = 5 * time.Second
	// postgresLifetime is how long a connection is used. After a failover the address
	// may lead to another server.
	postgresLifetime = 5 * time.Minute
)

// lockPostgresOrder begins each transaction that writes. Its settings are for the
// transaction, not for the session: behind a connection pooler the session belongs
// to another client a moment later, and poolers refuse settings that come with the
// connection.
//
// A commit must survive a power failure, or the failure of the primary, so
// synchronous_commit is raised where the server or the role has lowered it. A
// worker whose machine vanishes in a transaction must not block the order for as
// long as the network takes to notice, so an idle transaction times out. Anybody who
// may connect can take the lock of an order, so the wait for it has an end.
var lockPostgresOrder = fmt.Sprintf(`SELECT
	pg_catalog.set_config('synchronous_commit', CASE WHEN pg_catalog.current_setting('synchronous_commit') IN ('off', 'local') THEN 'on' ELSE pg_catalog.current_setting('synchronous_commit') END, true),
	pg_catalog.set_config('idle_in_transaction_session_timeout', '%d', true),
	pg_catalog.set_config('lock_timeout', '%d', true),
	pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('coffee ledger '::text || $1::text, 0::bigint))`,
	postgresPatience.Milliseconds(), postgresLockTimeout.Milliseconds())

// postgresEngine takes a lock of its own to migrate, because CREATE TABLE IF NOT EXISTS
// fails when two sessions run it at once. A role that may only read and insert can use a
// schema that is current.
var postgresEngine = engine{
	steps:  []string{postgresSchema},
	tables: `SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'`,
	lock: fmt.Sprintf(`SELECT
		pg_catalog.set_config('quote_all_identifiers', 'off', true),
		pg_catalog.set_config('search_path', pg_catalog.quote_ident($1::text) || ', pg_temp', true),
		pg_catalog.set_config('lock_timeout', '%d', true),
		pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('coffee ledger'::text, 0::bigint))`, postgresLockTimeout.Milliseconds()),
	// A table that was restored has another object id, and its row another transaction
	// that made it.
	place:     `ledger_id || ' ' || tableoid::text || ' ' || xmin::text`,
	lockOrder: lockPostgresOrder,
	// An entry is recorded and taken back: that needs what an order needs.
	probe: func(ctx context.Context, tx *sql.Tx, in, id string) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO `+in+`ledger_entries (order_id, kind, amount_cents, run_id, recorded_at) VALUES ($1, 'void', 0, $1, pg_catalog.now())`, id)
		return cmp.Or(err, errProbed)
	},
	inWords: InWords,
}

// inSchema returns the engine for the ledger in a schema.
func (e engine) inSchema(schema string) engine {
	e.in, e.args = pgx.Identifier{schema}.Sanitize()+".", []any{schema}
	return e
}

// CheckPostgres returns nil if the schema has a ledger that this program knows, and
// otherwise an error as [OpenExisting] does.
func CheckPostgres(ctx context.Context, db querier, schema string) error {
	return postgresEngine.inSchema(schema).check(ctx, db)
}

// openPostgres opens the ledger in a PostgreSQL database, and migrates its schema. If
// there is no ledger, it creates one if create is true, and returns
// [ErrNoLedger] otherwise.
func openPostgres(ctx context.Context, databaseURL string, create bool, e engine, options ...Option) (_ Store, err error) {
	config, err := ParsePostgres(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("cannot open the ledger: %w", err)
	}
	config.ValidateConnect = requireWrites
	fatal := config.OnPgError
	config.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		// After a failover the connection would stay with the server that was demoted.
		return err.Code != readOnlyTransaction && fatal(conn, err)
	}
	settings := newSettings(options)
	db := openDB("postgresql", stdlib.GetConnector(*config), settings)
	// A transaction is short. By default a server has 100 connections for all of
	// its clients.
	db.SetMaxOpenConns(10)
	db.SetMaxIdleConns(10)
	db.SetConnMaxIdleTime(time.Minute)
	db.SetConnMaxLifetime(postgresLifetime)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("cannot open the ledger in %s on %s:%d: %w", config.Database, config.Host, config.Port, InWords(err)), db.Close())
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, postgresPatience)
	defer cancel()
	schema, err := Schema(ctx, db)
	if err != nil {
		return nil, err
	}
	ledger, err := e.inSchema(schema).open(ctx, db, create, settings)
	if err != nil {
		return nil, err // not ledger, which would be an interface that is not nil
	}
	return ledger, nil
}

// Schema returns the schema in which a PostgreSQL session would create tables, which is
// where its ledger is. Those that other schemas of the search path have are not its own.
func Schema(ctx context.Context, db querier) (string, error) {
	var schema sql.NullString
	var role string
	if err := db.QueryRowContext(ctx, `SELECT pg_catalog.current_schema()::text, pg_catalog.current_setting('session_replication_role')`).Scan(&schema, &role); err != nil {
		return "", err
	}
	switch {
	case !schema.Valid:
		return "", errors.New("no schema of its search_path exists and may be used: create it, or GRANT USAGE ON SCHEMA")
	case role == "replica":
		return "", errors.New("session_replication_role is replica, which switches foreign keys off: reset it for this role")
	}
	return schema.String, nil
}

// errReadOnly means that a connection takes no writes: it is one to a standby, or its
// role or its database is read-only by default.
var errReadOnly = errors.New("it takes no writes now: transactions are read-only")

// requireWrites refuses a connection that takes no writes, as target_session_attrs=read-write
// does, whatever the URL says. Of several hosts, the next one is tried.
func requireWrites(ctx context.Context, conn *pgconn.PgConn) error {
	results, err := conn.Exec(ctx, `SHOW transaction_read_only`).ReadAll()
	if err == nil && len(results) == 1 && len(results[0].Rows) == 1 && string(results[0].Rows[0][0]) == "on" {
		return errReadOnly
	}
	return err
}

// InWords says what to do about an error of PostgreSQL. It makes one line of what the
// driver says about each of its attempts to connect.
func InWords(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return oneLine{err}
	}
	switch pg.Code {
	case insufficientPrivilege:
		return fmt.Errorf("%w: its role needs USAGE of the schema, SELECT and INSERT on the tables, and CREATE in the schema to make or migrate them", err)
	case readOnlyTransaction:
		return fmt.Errorf("%w: %w", errReadOnly, err)
	case lockNotAvailable:
		return fmt.Errorf("another session holds a lock that it needs, see pg_locks: %w", err)
	}
	return oneLine{err}
}

// oneLine is an error whose text is in one line, without repetitions.
type oneLine struct{ error }

func (e oneLine) Error() string {
	var lines []string
	for line := range strings.Lines(e.error.Error()) {
		if line = strings.TrimSpace(line); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " ")
}

func (e oneLine) Unwrap() error { return e.error }

// IsUnavailable reports whether an error of [Open] may go away by itself: the database
// cannot be reached, is starting, has no room, or takes no writes at the moment. A wrong
// password, a missing database and whatever is wrong with a file do not.
func IsUnavailable(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case readOnlyTransaction, lockNotAvailable:
			return true
		}
		switch pg.Code[:2] {
		case "08", "53", "57": // connection, resources, operator
			return true
		}
		return false
	}
	var connect *pgconn.ConnectError
	if !errors.As(err, &connect) {
		return errors.Is(err, context.DeadlineExceeded)
	}
	var network net.Error
	var operation *net.OpError
	switch {
	case errors.As(err, &operation) && operation.Op == "remote error": // TLS was refused
		return false
	case errors.As(err, &network), errors.Is(err, errReadOnly), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return true
	}
	return false
}
