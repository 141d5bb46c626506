package ledger

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"example.com/coffee/coffee"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

//go:embed postgres.sql
var postgresSchema string

//go:embed postgres_deliveries.sql
var postgresDeliveriesSchema string

// insufficientPrivilege is PostgreSQL's code for what a role may not do.
const insufficientPrivilege = "42501"

// postgresPatience bounds how long it takes to open a ledger, and how long the
// database waits for the next statement of a transaction.
const postgresPatience = 10 * time.Second

// lockPostgresOrder begins each transaction that writes. Its settings are for the
// transaction, not for the session: behind a connection pooler the session belongs
// to another client a moment later, and poolers refuse settings that come with the
// connection.
//
// A commit must survive a power failure, or the failure of the primary, so
// synchronous_commit is raised where the server or the role has lowered it. A
// worker whose machine vanishes in a transaction must not block the order for as
// long as the network takes to notice, so an idle transaction times out.
var lockPostgresOrder = fmt.Sprintf(`SELECT
	set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 'on' ELSE current_setting('synchronous_commit') END, true),
	set_config('idle_in_transaction_session_timeout', '%d', true),
	pg_advisory_xact_lock(hashtextextended('coffee ledger ' || $1, 0))`, postgresPatience.Milliseconds())

// postgresMigration takes a lock of its own, because CREATE TABLE IF NOT EXISTS fails
// when two sessions run it at once. A role that may only read and insert can use a
// schema that is current.
var postgresMigration = migration{
	steps: []string{postgresSchema, postgresDeliveriesSchema, numberSchema},
	tables: `SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'ledger_entries' AND pg_table_is_visible(oid)),
		EXISTS (SELECT FROM pg_class WHERE relname = 'ledger_deliveries' AND pg_table_is_visible(oid)),
		EXISTS (SELECT FROM pg_class WHERE relname = 'ledger_schema' AND pg_table_is_visible(oid))`,
	isolation: sql.LevelReadCommitted,
	lock:      `SELECT pg_advisory_xact_lock(hashtextextended('coffee ledger', 0))`,
}

// openPostgres opens the ledger in a PostgreSQL database, and migrates its schema. If
// there is no ledger, it creates one if create is true, and returns
// [coffee.ErrNoLedger] otherwise.
func openPostgres(ctx context.Context, databaseURL string, create bool, m migration, options ...Option) (coffee.Ledger, error) {
	config, err := pgx.ParseConfig(databaseURL) // its errors do not reveal the password
	if err != nil {
		return nil, fmt.Errorf("cannot open the ledger: %w", err)
	}
	where := fmt.Sprintf("%s on %s:%d", config.Database, config.Host, config.Port)
	// Behind a pooler that assigns a connection to each transaction, a statement
	// that was prepared once is on another connection the next time.
	config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	settings := newSettings(options)
	db := openDB("postgresql", stdlib.GetConnector(*config), settings)
	// A transaction is short. By default a server has 100 connections for all of
	// its clients.
	db.SetMaxOpenConns(10)
	db.SetMaxIdleConns(10)
	db.SetConnMaxIdleTime(time.Minute)
	ctx, cancel := context.WithTimeout(ctx, postgresPatience)
	defer cancel()
	if err := m.run(ctx, db, create); err != nil {
		var denied *pgconn.PgError
		if errors.As(err, &denied) && denied.Code == insufficientPrivilege {
			err = fmt.Errorf("%w: let the owner of its tables open it once, with coffee worker", err)
		}
		return nil, errors.Join(fmt.Errorf("cannot open the ledger in %s: %w", where, err), db.Close())
	}
	return &sqlLedger{
		db:      db,
		version: len(m.steps),
		// Each statement sees what was committed before it, so the one after the
		// lock sees everything that was done under the lock before.
		isolation: sql.LevelReadCommitted,
		lockOrder: lockPostgresOrder,
		now:       settings.now,
	}, nil
}
