// Package store keeps the server's state in Temporal's own SQL stores and tables,
// on a connection to SQLite that prepares each statement once.
//
// Temporal's SQLite plugin has every statement parsed and planned each time it is
// executed, which is half of its work: an order executes some three hundred of
// them. The plugin also keeps its connection open for the life of the process. Its
// statements and rows are used as they are (tables.go), on a connection of our own
// (conn.go).
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/iancoleman/strcase"
	"github.com/jmoiron/sqlx"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// DB is a database. All writes go through one connection.
type DB struct {
	tables
	name    string
	db      *sqlx.DB
	conn    *conn
	queries *sqlx.DB // for users' queries; nil if they use conn
	// patience is how long a transaction may take.
	patience time.Duration
}

// Open opens a database and registers it for the server under a name. Users'
// queries run on other connections if queriesDSN is not empty, so that nothing
// waits for them.
func Open(ctx context.Context, name, dsn, queriesDSN string) (*DB, error) {
	db, err := openPool(dsn)
	if err != nil {
		return nil, err
	}
	c, err := db.Connx(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	d := &DB{name: name, db: db, patience: txPatience, conn: &conn{conn: c, free: make(chan struct{}, 1), statements: map[string]*sqlx.NamedStmt{}}}
	d.conn.free <- struct{}{}
	d.tables = newTables(runner{conn: d.conn, use: d.conn.alone})
	if queriesDSN != "" {
		if d.queries, err = openPool(queriesDSN); err != nil {
			return nil, errors.Join(err, c.Close(), db.Close())
		}
		d.queries.SetMaxIdleConns(1)
		d.queries.SetMaxOpenConns(4)
	}
	open.Store(name, d)
	return d, nil
}

func openPool(dsn string) (*sqlx.DB, error) {
	db, err := sqlx.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.MapperFunc(strcase.ToSnake) // maps columns to the fields of sqlplugin's rows
	return db, nil
}

// Setup creates the schema of a database in memory, which has none yet.
func (d *DB) Setup(ctx context.Context, create func(*sql.Tx) error) error {
	release, err := d.conn.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	tx, err := d.conn.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := create(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// Shutdown closes the connections as soon as nothing uses the one for writing.
// After ten seconds it gives up and returns an error.
func (d *DB) Shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := d.conn.acquire(ctx); err != nil {
		return fmt.Errorf("the connection to database %s is still in use: %w", d.name, err)
	}
	open.Delete(d.name)
	errs := d.conn.closeStatements()
	if d.queries != nil {
		errs = append(errs, d.queries.Close())
	}
	return errors.Join(append(errs, d.conn.conn.Close(), d.db.Close())...)
}

// Close does nothing: the server's stores share the database and do not own it.
func (d *DB) Close() error { return nil }

// DbName implements [sqlplugin.GenericDB].
func (d *DB) DbName() string { return d.name }

// IsDupEntryError implements [sqlplugin.DB]. The plugin takes other errors for those of a
// constraint, too.
func (d *DB) IsDupEntryError(err error) bool {
	var failure *sqlite.Error
	return errors.As(err, &failure) && failure.Code()&0xff == sqlite3.SQLITE_CONSTRAINT
}

// txPatience is how long a transaction may take. Temporal's own take milliseconds,
// and their requests some seconds.
const txPatience = time.Minute

// BeginTx begins a transaction that has the connection for itself. It returns an
// error if the context ends before the connection is free.
//
// The transaction is rolled back when the context ends, or after a minute. If its
// request has panicked nothing else does that, and without the connection the
// server could do nothing more.
func (d *DB) BeginTx(ctx context.Context) (sqlplugin.Tx, error) {
	release, err := d.conn.acquire(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := d.conn.exec("BEGIN IMMEDIATE"); err != nil {
		release()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	t := &tx{conn: d.conn, release: release}
	t.TableCRUD = newTables(runner{conn: d.conn, use: t.use})
	stop := context.AfterFunc(ctx, func() {
		// This does nothing if the transaction is over already.
		_ = t.end(fmt.Errorf("the transaction was rolled back: %w", context.Cause(ctx)), "ROLLBACK")
	})
	t.unwatch = func() { stop(); cancel() }
	return t, nil
}

// tx is a transaction.
type tx struct {
	sqlplugin.TableCRUD
	conn    *conn
	release func()
	unwatch func() // stops waiting for the context

	mu   sync.Mutex // one statement at a time
	over error      // why the transaction is over; nil until then
}

var (
	_ sqlplugin.Tx = (*tx)(nil)

	errTxOver = errors.New("the transaction is over")
)

// Commit implements [sqlplugin.Tx].
func (t *tx) Commit() error {
	t.unwatch()
	t.conn.writes.begin()
	defer t.conn.writes.end()
	return t.end(errTxOver, "COMMIT")
}

// Rollback implements [sqlplugin.Tx].
func (t *tx) Rollback() error {
	t.unwatch()
	return t.end(errTxOver, "ROLLBACK")
}

// end ends the transaction with a statement and gives the connection back. Later
// uses of the transaction return the error why.
func (t *tx) end(why error, statement string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over != nil {
		return t.over
	}
	t.over = why
	defer t.release()
	_, err := t.conn.exec(statement)
	if err != nil && statement != "ROLLBACK" { // SQLite leaves a transaction open that it could not commit
		_, rollbackErr := t.conn.exec("ROLLBACK")
		err = errors.Join(err, rollbackErr)
	}
	return err
}

// use runs a statement of the transaction, or returns why the transaction is over.
func (t *tx) use(_ context.Context, _ bool, run func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over != nil {
		return t.over
	}
	return run()
}

// Writes returns how many commits have ended, and whether others are under way. A
// commit that anyone but its writer can have seen is either counted or under way.
func (d *DB) Writes() (ended uint64, underWay bool) {
	ended = d.conn.writes.ended.Load()
	return ended, d.conn.writes.begun.Load() != ended
}
