package store

import (
	"context"
	"reflect"
	"sync"
	"unsafe"

	"github.com/jmoiron/sqlx"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/resolver"
)

// tables are all tables of the server, as Temporal's SQLite plugin reads and writes them.
type tables interface {
	sqlplugin.DB
	sqlplugin.AdminDB
}

// template is the plugin's own value, of a type that it does not export. Its database is
// an empty one in memory, and closed. The plugin keeps databases by name and attributes, so
// these are none that anybody else in this process uses.
var template = sync.OnceValue(func() reflect.Value {
	conf := &config.SQL{PluginName: sqliteplugin.PluginName, DatabaseName: ":memory:", ConnectAttributes: map[string]string{"cache": "private"}}
	db, err := persistencesql.NewSQLDB(sqlplugin.DbKindMain, conf, resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler)
	if err != nil {
		panic(err) // the plugin is linked in, and there is no file
	}
	made := reflect.ValueOf(db).Elem()
	field(made, "db").Interface().(*sqlx.DB).Close()
	return made
})

// field returns a field that is not exported.
func field(of reflect.Value, name string) reflect.Value {
	found := of.FieldByName(name)
	return reflect.NewAt(found.Type(), unsafe.Pointer(found.UnsafeAddr())).Elem()
}

// newTables returns the tables on a connection. The plugin's type has it in a field, and
// runs all statements on it but those of [sqlplugin.AdminCRUD] and of
// CountGroupByFromVisibility. If another version of the plugin is different, this panics.
func newTables(on sqlplugin.Conn) tables {
	made := reflect.New(template().Type())
	made.Elem().Set(template())
	field(made.Elem(), "conn").Set(reflect.ValueOf(on))
	return made.Interface().(tables)
}

// userQueries is the connection for users' queries of the visibility table. They are
// not kept as prepared statements, and they end with the request because they can take
// long.
type userQueries struct {
	sqlplugin.Conn // nil: there are only reads
	db             *DB
}

// query calls run with a connection of the pool for users' queries, or with the one
// connection if there is none.
func (q userQueries) query(ctx context.Context, run func(sqlx.QueryerContext) error) error {
	if q.db.queries != nil {
		return run(q.db.queries)
	}
	release, err := q.db.conn.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	return run(q.db.conn.conn)
}

// GetContext implements [sqlplugin.Conn].
func (q userQueries) GetContext(ctx context.Context, into any, query string, args ...any) error {
	return q.query(ctx, func(on sqlx.QueryerContext) error { return sqlx.GetContext(ctx, on, into, query, args...) })
}

// SelectContext implements [sqlplugin.Conn].
func (q userQueries) SelectContext(ctx context.Context, into any, query string, args ...any) error {
	return q.query(ctx, func(on sqlx.QueryerContext) error { return sqlx.SelectContext(ctx, on, into, query, args...) })
}

// SelectFromVisibility implements [sqlplugin.Visibility].
func (d *DB) SelectFromVisibility(ctx context.Context, f sqlplugin.VisibilitySelectFilter) ([]sqlplugin.VisibilityRow, error) {
	return newTables(userQueries{db: d}).SelectFromVisibility(ctx, f)
}

// CountFromVisibility implements [sqlplugin.Visibility].
func (d *DB) CountFromVisibility(ctx context.Context, f sqlplugin.VisibilitySelectFilter) (int64, error) {
	return newTables(userQueries{db: d}).CountFromVisibility(ctx, f)
}

// CountGroupByFromVisibility implements [sqlplugin.Visibility].
func (d *DB) CountGroupByFromVisibility(ctx context.Context, f sqlplugin.VisibilitySelectFilter) (counts []sqlplugin.VisibilityCountRow, err error) {
	err = userQueries{db: d}.query(ctx, func(on sqlx.QueryerContext) error {
		rows, err := on.QueryContext(ctx, f.Query, f.QueryArgs...)
		if err != nil {
			return err
		}
		defer rows.Close()
		counts, err = sqlplugin.ParseCountGroupByRows(rows, f.GroupBy)
		return err
	})
	return counts, err
}
