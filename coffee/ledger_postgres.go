package coffee

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

//go:embed ledger_postgres.sql
var postgresSchema string

// postgresPatience bounds how long it takes to open a ledger, and how long the
// database waits for the next statement of a transaction.
const postgresPatience = 10 * time.Second

// openPostgres opens the ledger in a PostgreSQL database, and creates its table
// if there is none.
func openPostgres(ctx context.Context, databaseURL string) (Ledger, error) {
	config, err := pgx.ParseConfig(databaseURL) // its errors do not tell the password
	if err != nil {
		return nil, fmt.Errorf("cannot open the ledger: %w", err)
	}
	where := fmt.Sprintf("%s on %s:%d", config.Database, config.Host, config.Port)
	// A worker whose machine vanishes in a transaction must not keep others from
	// the order for as long as the network takes to notice.
	config.RuntimeParams["idle_in_transaction_session_timeout"] = fmt.Sprint(postgresPatience.Milliseconds())
	db := stdlib.OpenDB(*config)
	// A transaction is short. A server has 100 connections for all of its
	// clients unless it is told otherwise.
	db.SetMaxOpenConns(10)
	db.SetMaxIdleConns(10)
	db.SetConnMaxIdleTime(time.Minute)
	ctx, cancel := context.WithTimeout(ctx, postgresPatience)
	defer cancel()
	if err := createPostgresTable(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open the ledger in %s: %w", where, err), db.Close())
	}
	return &sqlLedger{
		db: db,
		// Each statement sees what was committed before it: so the one after
		// the lock sees everything that was done under the lock before.
		isolation: sql.LevelReadCommitted,
		lockOrder: `SELECT pg_advisory_xact_lock(hashtextextended('coffee ledger ' || $1, 0))`,
		now:       time.Now,
	}, nil
}

func createPostgresTable(ctx context.Context, db *sql.DB) error {
	exists := func(db interface {
		QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	}) (yes bool, err error) {
		err = db.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'ledger_entries' AND pg_table_is_visible(oid))`).Scan(&yes)
		return yes, err
	}
	// A role that may only read and insert can use a table that is there.
	if yes, err := exists(db); err != nil || yes {
		return err
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	// CREATE TABLE IF NOT EXISTS fails when two do it at once.
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('coffee ledger', 0))`); err != nil {
		return err
	}
	if yes, err := exists(tx); err != nil || yes {
		return err
	}
	if _, err := tx.ExecContext(ctx, postgresSchema); err != nil {
		return err
	}
	return tx.Commit()
}
