// Package ledger implements [Store] in a SQL database: in a SQLite file, in
// memory, or in PostgreSQL.
//
// Read it in this order: this file opens a ledger; sql.go keeps its promises, one
// transaction per call; sqlite.go and postgres.go open the databases, migrate.go
// brings their schemas to the version that the code knows, and name.go says what can
// name a ledger. Beside each database is its schema, whose constraints and triggers refuse
// whatever would break a promise, no matter which program writes to the table.
package ledger

import (
	"context"
	"fmt"
)

// Open opens the ledger at where, a postgres:// URL or the path of a SQLite file.
// It creates what does not exist: the tables in PostgreSQL, if the role may; the
// file, readable only by its owner, in a directory that must exist. A schema of an
// earlier version is brought to [SchemaVersion]. That of a later one is refused with
// [ErrNewerLedger].
//
// Several processes may share a ledger. Processes on several machines need
// PostgreSQL.
func Open(ctx context.Context, where string, options ...Option) (Store, error) {
	return open(ctx, where, true, options)
}

// OpenExisting is like [Open], but the ledger must exist: if it does not,
// OpenExisting returns [ErrNoLedger] and creates nothing.
func OpenExisting(ctx context.Context, where string, options ...Option) (Store, error) {
	return open(ctx, where, false, options)
}

func open(ctx context.Context, where string, create bool, options []Option) (Store, error) {
	databaseURL, err := PostgresURL(where)
	if err != nil {
		return nil, fmt.Errorf("cannot open the ledger: %w", err)
	}
	if databaseURL != "" {
		return openPostgres(ctx, databaseURL, create, postgresEngine, options...)
	}
	return openSQLiteFile(ctx, where, create, sqliteEngine, options...)
}
