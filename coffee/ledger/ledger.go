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
	"errors"
	"fmt"

	"example.com/coffee/coffee"
)

// Store is a [coffee.Ledger] in a database.
type Store interface {
	coffee.Ledger

	// Balance sums up the whole ledger.
	Balance(ctx context.Context) (Balance, error)

	// ID returns what distinguishes this ledger from all others; empty if it can belong
	// to any number of namespaces.
	ID() string

	// Bind records whose orders the ledger keeps, unless that is recorded already. It
	// returns [ErrForeignLedger] if it keeps those of another.
	Bind(ctx context.Context, owner Owner) error

	// Ready returns nil if the ledger could record an entry now.
	Ready(ctx context.Context) error

	// Close releases the database.
	Close() error
}

// ErrNoLedger means that there is no ledger where one was expected.
var ErrNoLedger = errors.New("there is no ledger")

// ErrNewerLedger means that a newer program has changed the ledger in a way that this
// one does not know. It is no refusal: another worker may be able to do it.
var ErrNewerLedger = errors.New("the ledger was changed by a newer program")

// Balance sums up a ledger.
type Balance struct {
	Charges, Refunds, Voids int64        // how many there are
	Charged, Refunded       coffee.Cents // what they add up to
}

// Net returns what the shop has earned: the charges less the refunds.
func (b Balance) Net() coffee.Cents { return b.Charged - b.Refunded }

// Open opens the ledger at where, a postgres:// URL or the path of a SQLite file.
// It creates what does not exist: the tables in PostgreSQL, if the role may; the
// file, readable only by its owner, in a directory that must exist. A schema of an
// earlier version is brought to that of this program. That of a later one is refused with
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
