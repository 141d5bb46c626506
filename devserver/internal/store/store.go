// Package store is where the server keeps what it knows: Temporal's own SQL
// stores, tables and all, on a connection to SQLite that prepares each statement
// once.
//
// Temporal's SQLite plugin has every statement parsed and planned each time that
// it is executed, which is half of its work: an order executes some three
// hundred of them. And the plugin keeps its connection for the life of the
// process.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/iancoleman/strcase"
	"github.com/jmoiron/sqlx"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// DB is a database. Everything is written on one connection.
type DB struct {
	tables
	visibility
	name string
	db   *sqlx.DB
	conn *conn
}

var _ sqlplugin.DB = (*DB)(nil)

// Open opens a database, and makes it known to the server under a name. The
// queries of users run on other connections if there is a dsn for them, so that
// nothing waits for them.
func Open(ctx context.Context, name, dsn, queriesDSN string) (*DB, error) {
	db, err := openPool(dsn)
	if err != nil {
		return nil, err
	}
	c, err := db.Connx(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	d := &DB{name: name, db: db, conn: &conn{conn: c, free: make(chan struct{}, 1), statements: map[string]*sqlx.Stmt{}}}
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
	db.MapperFunc(strcase.ToSnake) // columns to the fields of sqlplugin's rows
	return db, nil
}

// Setup makes the schema of a database that is in memory and so has none yet.
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

// Shutdown closes the connections, as soon as nobody writes any more. If that
// takes longer than ten seconds it gives up and returns an error.
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

// BeginTx begins a transaction that has the connection for itself. It returns an
// error if the context ends before the connection is free.
func (d *DB) BeginTx(ctx context.Context) (sqlplugin.Tx, error) {
	release, err := d.conn.acquire(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := d.conn.exec("BEGIN IMMEDIATE"); err != nil {
		release()
		return nil, err
	}
	return &tx{tables: tables{run: inTx{d.conn}}, conn: d.conn, release: release}, nil
}

// tx is a transaction.
type tx struct {
	tables
	sqlplugin.Visibility // which is not written in transactions
	conn                 *conn
	release              func()
}

var _ sqlplugin.Tx = (*tx)(nil)

// Commit implements [sqlplugin.Tx].
func (t *tx) Commit() error {
	defer t.release()
	_, err := t.conn.exec("COMMIT")
	if err != nil { // SQLite leaves a transaction open that it could not commit
		_, rollbackErr := t.conn.exec("ROLLBACK")
		return errors.Join(err, rollbackErr)
	}
	return nil
}

// Rollback implements [sqlplugin.Tx].
func (t *tx) Rollback() error {
	defer t.release()
	_, err := t.conn.exec("ROLLBACK")
	return err
}

// conn is the one connection. Whoever has taken the token out of free has it.
//
// Limits are written as "? + 0": if SQLite recognizes a parameter as the limit it
// plans for its value, and prepares the statement again for the next one.
//
// Statements run to their end whatever happens to the request that they belong
// to: they take microseconds, and to watch a context takes longer.
type conn struct {
	conn       *sqlx.Conn
	free       chan struct{}
	statements map[string]*sqlx.Stmt
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
type inTx struct{ c *conn }

func (r inTx) exec(_ context.Context, query string, args ...any) (sql.Result, error) {
	return r.c.exec(query, args...)
}

func (r inTx) get(_ context.Context, into any, query string, args ...any) error {
	return r.c.get(into, query, args...)
}

func (r inTx) list(_ context.Context, into any, query string, args ...any) error {
	return r.c.list(into, query, args...)
}

// autocommit runs each statement by itself.
type autocommit struct{ c *conn }

func (r autocommit) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	release, err := r.c.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
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
