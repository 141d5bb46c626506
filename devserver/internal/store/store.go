// Package store keeps the server's state in Temporal's own SQL stores and tables,
// on a connection to SQLite that prepares each statement once.
//
// Temporal's SQLite plugin has every statement parsed and planned each time it is
// executed, which is half of its work: an order executes some three hundred of
// them. The plugin also keeps its connection open for the life of the process.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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
	visibility
	name string
	db   *sqlx.DB
	conn *conn
	// patience is how long a transaction may take.
	patience time.Duration
}

var _ sqlplugin.DB = (*DB)(nil)

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
	d := &DB{name: name, db: db, patience: txPatience, conn: &conn{conn: c, free: make(chan struct{}, 1), statements: map[string]*sqlx.Stmt{}}}
	d.conn.free <- struct{}{}
	d.tables = tables{run: autocommit{d.conn}}
	d.visibility = visibility{conn: d.conn}
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
	var errs []error
	if d.queries != nil {
		errs = append(errs, d.queries.Close())
	}
	for _, statement := range d.conn.statements {
		errs = append(errs, statement.Close())
	}
	return errors.Join(append(errs, d.conn.conn.Close(), d.db.Close())...)
}

// Close does nothing: the server's stores share the database and do not own it.
func (d *DB) Close() error { return nil }

// PluginName implements [sqlplugin.GenericDB].
func (d *DB) PluginName() string { return "sqlite" }

// DbName implements [sqlplugin.GenericDB].
func (d *DB) DbName() string { return d.name }

// IsDupEntryError implements [sqlplugin.DB].
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
	t.tables.run = inTx{t}
	stop := context.AfterFunc(ctx, func() {
		// This does nothing if the transaction is over already.
		_ = t.end(fmt.Errorf("the transaction was rolled back: %w", context.Cause(ctx)), "ROLLBACK")
	})
	t.unwatch = func() { stop(); cancel() }
	return t, nil
}

// tx is a transaction.
type tx struct {
	tables
	sqlplugin.Visibility // nil: it is not written in transactions
	conn                 *conn
	release              func()
	unwatch              func() // stops waiting for the context

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
func (t *tx) use(run func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over != nil {
		return t.over
	}
	return run()
}

// writes counts the commits to a database, for the code that makes them durable.
type writes struct{ begun, ended atomic.Uint64 }

func (w *writes) begin() { w.begun.Add(1) }
func (w *writes) end()   { w.ended.Add(1) }

// Writes returns how many commits have ended, and whether others are under way. A
// commit that anyone but its writer can have seen is either counted or under way.
func (d *DB) Writes() (ended uint64, underWay bool) {
	ended = d.conn.writes.ended.Load()
	return ended, d.conn.writes.begun.Load() != ended
}

// conn is the one connection. It belongs to the caller that has taken the token
// out of free.
//
// Limits are written as "? + 0". If SQLite recognizes a parameter as the limit, it
// plans for its value and prepares the statement again for the next value.
//
// Statements run to completion whatever happens to their request: they take
// microseconds, and watching a context takes longer.
type conn struct {
	conn       *sqlx.Conn
	free       chan struct{}
	statements map[string]*sqlx.Stmt
	writes     writes
}

func (c *conn) acquire(ctx context.Context) (release func(), err error) {
	select {
	case <-c.free:
		return func() { c.free <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *conn) prepare(query string) (*sqlx.Stmt, error) {
	if statement, ok := c.statements[query]; ok {
		return statement, nil
	}
	statement, err := c.conn.PreparexContext(context.Background(), query)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, query)
	}
	statement.Mapper = c.conn.Mapper // which sqlx forgets
	c.statements[query] = statement
	return statement, nil
}

func (c *conn) exec(query string, args ...any) (sql.Result, error) {
	statement, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	return statement.Exec(args...)
}

func (c *conn) get(into any, query string, args ...any) error {
	statement, err := c.prepare(query)
	if err != nil {
		return err
	}
	return statement.Get(into, args...)
}

func (c *conn) list(into any, query string, args ...any) error {
	statement, err := c.prepare(query)
	if err != nil {
		return err
	}
	return statement.Select(into, args...)
}

// runner runs statements.
type runner interface {
	exec(ctx context.Context, query string, args ...any) (sql.Result, error)
	// get reads one row, or returns [sql.ErrNoRows].
	get(ctx context.Context, into any, query string, args ...any) error
	// list reads all rows.
	list(ctx context.Context, into any, query string, args ...any) error
}

// inTx runs statements in a transaction, which has the connection already.
type inTx struct{ t *tx }

func (r inTx) exec(_ context.Context, query string, args ...any) (result sql.Result, err error) {
	err = r.t.use(func() error {
		result, err = r.t.conn.exec(query, args...)
		return err
	})
	return result, err
}

func (r inTx) get(_ context.Context, into any, query string, args ...any) error {
	return r.t.use(func() error { return r.t.conn.get(into, query, args...) })
}

func (r inTx) list(_ context.Context, into any, query string, args ...any) error {
	return r.t.use(func() error { return r.t.conn.list(into, query, args...) })
}

// autocommit runs each statement by itself.
type autocommit struct{ c *conn }

func (r autocommit) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	release, err := r.c.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	r.c.writes.begin()
	defer r.c.writes.end()
	return r.c.exec(query, args...)
}

func (r autocommit) get(ctx context.Context, into any, query string, args ...any) error {
	release, err := r.c.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	return r.c.get(into, query, args...)
}

func (r autocommit) list(ctx context.Context, into any, query string, args ...any) error {
	release, err := r.c.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	return r.c.list(into, query, args...)
}
