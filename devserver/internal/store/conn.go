package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"reflect"
	"regexp"
	"sync/atomic"

	"github.com/jmoiron/sqlx"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// conn is the one connection. It belongs to the caller that has taken the token
// out of free.
type conn struct {
	conn       *sqlx.Conn
	free       chan struct{}
	statements map[string]*sqlx.NamedStmt // as the plugin has written them
	writes     writes
}

// writes counts the commits to a database, for the code that makes them durable.
type writes struct{ begun, ended atomic.Uint64 }

func (w *writes) begin() { w.begun.Add(1) }
func (w *writes) end()   { w.ended.Add(1) }

func (c *conn) acquire(ctx context.Context) (release func(), err error) {
	select {
	case <-c.free:
		return func() { c.free <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// alone runs a statement by itself, which commits what it writes.
func (c *conn) alone(ctx context.Context, write bool, run func() error) error {
	release, err := c.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	if write {
		c.writes.begin()
		defer c.writes.end()
	}
	return run()
}

// maxStatements is how many prepared statements are kept. There are some two hundred,
// and one more for each number of keys with which rows are deleted from one of the tables.
const maxStatements = 1000

var (
	names  = regexp.MustCompile(`:(\w+)`)
	limits = regexp.MustCompile(`(?i)\bLIMIT (\?|\$\d+)`)
	later  = regexp.MustCompile(`\(\(visibility_timestamp >= \? AND task_id >= \?\) OR visibility_timestamp > \?\)`)
)

// prepare returns a statement, and the names of its arguments if they have names.
//
// If SQLite recognizes a parameter as the limit, it plans for its value and prepares the
// statement again for the next value. A range of tasks is one of the index only if it is
// written as one: otherwise all earlier tasks are read as well.
func (c *conn) prepare(query string) (*sqlx.NamedStmt, error) {
	if statement, ok := c.statements[query]; ok {
		return statement, nil
	}
	if len(c.statements) == maxStatements {
		c.closeStatements()
	}
	statement := &sqlx.NamedStmt{QueryString: names.ReplaceAllString(query, "?")}
	for _, name := range names.FindAllStringSubmatch(query, -1) {
		statement.Params = append(statement.Params, name[1])
	}
	statement.QueryString = limits.ReplaceAllString(statement.QueryString, "$0 + 0")
	statement.QueryString = later.ReplaceAllString(statement.QueryString, "(visibility_timestamp, task_id) >= (?, ?) AND visibility_timestamp >= ?")
	var err error
	if statement.Stmt, err = c.conn.PreparexContext(context.Background(), statement.QueryString); err != nil {
		return nil, fmt.Errorf("%w: %s", err, statement.QueryString)
	}
	statement.Stmt.Mapper = c.conn.Mapper // which sqlx forgets
	c.statements[query] = statement
	return statement, nil
}

func (c *conn) closeStatements() (errs []error) {
	for query, statement := range c.statements {
		errs = append(errs, statement.Close())
		delete(c.statements, query)
	}
	return errs
}

func (c *conn) exec(query string, args ...any) (sql.Result, error) {
	statement, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	return statement.Stmt.Exec(args...)
}

// runner runs the plugin's statements on the connection.
//
// Statements run to completion whatever happens to their request: they take
// microseconds, and watching a context takes longer.
type runner struct {
	sqlplugin.Conn // nil: the plugin uses no other method
	conn           *conn
	// use calls run when the connection is free for it.
	use func(ctx context.Context, write bool, run func() error) error
}

// Rebind implements [sqlplugin.Conn].
func (r runner) Rebind(query string) string { return query }

// with prepares a statement, and calls run with it when the connection is free.
func (r runner) with(ctx context.Context, write bool, query string, run func(*sqlx.NamedStmt) error) error {
	return r.use(ctx, write, func() error {
		statement, err := r.conn.prepare(query)
		if err != nil {
			return err
		}
		return run(statement)
	})
}

// ExecContext implements [sqlplugin.Conn].
func (r runner) ExecContext(ctx context.Context, query string, args ...any) (result sql.Result, err error) {
	err = r.with(ctx, true, query, func(statement *sqlx.NamedStmt) error {
		result, err = statement.Stmt.Exec(args...)
		return err
	})
	return result, err
}

// NamedExecContext implements [sqlplugin.Conn]. It executes the statement once for each
// row if arg is a slice, so that there is one statement for any number of rows.
func (r runner) NamedExecContext(ctx context.Context, query string, arg any) (result sql.Result, err error) {
	err = r.with(ctx, true, query, func(statement *sqlx.NamedStmt) error {
		rows := reflect.ValueOf(arg)
		if rows.Kind() != reflect.Slice {
			result, err = statement.Exec(arg)
			return err
		}
		var total int64
		for i := range rows.Len() {
			result, err := statement.Exec(rows.Index(i).Addr().Interface())
			if err != nil {
				return err
			}
			affected, err := result.RowsAffected()
			if err != nil {
				return err
			}
			total += affected
		}
		result = driver.RowsAffected(total)
		return nil
	})
	return result, err
}

// GetContext implements [sqlplugin.Conn].
func (r runner) GetContext(ctx context.Context, into any, query string, args ...any) error {
	return r.with(ctx, false, query, func(statement *sqlx.NamedStmt) error { return statement.Stmt.Get(into, args...) })
}

// SelectContext implements [sqlplugin.Conn].
func (r runner) SelectContext(ctx context.Context, into any, query string, args ...any) error {
	return r.with(ctx, false, query, func(statement *sqlx.NamedStmt) error { return statement.Stmt.Select(into, args...) })
}
