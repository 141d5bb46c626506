package store

import (
	"context"
	"fmt"
	"sync"

	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/resolver"
)

// PluginName is the name of a plugin that is Temporal's SQLite plugin, apart
// from the visibility table, which is on the connection that [Open] has opened
// under the same name as the plugin's database.
const PluginName = "sqlite-prepared"

func init() { sql.RegisterPlugin(PluginName, plugin{}) }

// open has the databases that are open, by their names: a plugin is told no more
// than the name.
var open sync.Map

type plugin struct{}

// GetVisibilityQueryConverter implements [sqlplugin.Plugin].
func (plugin) GetVisibilityQueryConverter() sqlplugin.VisibilityQueryConverter {
	converter, err := sql.GetPluginVisibilityQueryConverter(sqliteplugin.PluginName)
	if err != nil {
		panic(err) // it is linked in
	}
	return converter
}

// CreateDB implements [sqlplugin.Plugin].
func (plugin) CreateDB(kind sqlplugin.DbKind, cfg *config.SQL, r resolver.ServiceResolver, logger log.Logger, metrics metrics.Handler) (sqlplugin.GenericDB, error) {
	own, ok := open.Load(cfg.DatabaseName)
	if !ok {
		return nil, fmt.Errorf("database %s is not open", cfg.DatabaseName)
	}
	c := *cfg
	c.PluginName = sqliteplugin.PluginName
	db, err := sql.NewSQLDB(kind, &c, r, logger, metrics)
	if err != nil {
		return nil, err
	}
	admin := db.(sqlplugin.AdminDB) // the server asks for either
	v := visibility{conn: own.(*DB).conn}
	if cfg.ConnectAttributes["mode"] != "memory" { // where the tables are in another database
		v.queries = db
	}
	return &rest{stock: stock{DB: db, AdminCRUD: admin, versions: admin}, visibility: v}, nil
}

// rest is a database of Temporal's plugin.
type rest struct {
	visibility
	stock
}

var (
	_ sqlplugin.DB      = (*rest)(nil)
	_ sqlplugin.AdminDB = (*rest)(nil)
)

// stock is what rest takes from Temporal's plugin.
type stock struct {
	sqlplugin.DB
	sqlplugin.AdminCRUD
	versions
}

type versions interface {
	ExpectedVersion() string
	VerifyVersion() error
}

// BeginTx begins a transaction. Temporal's plugin begins it as a reader, and
// SQLite does not let it write if somebody else has written since: while it
// lasts nobody else does.
func (r *rest) BeginTx(ctx context.Context) (sqlplugin.Tx, error) {
	release, err := r.conn.acquire(ctx)
	if err != nil {
		return nil, err
	}
	t, err := r.DB.BeginTx(ctx)
	if err != nil {
		release()
		return nil, err
	}
	return &restTx{Tx: t, release: release}, nil
}

type restTx struct {
	sqlplugin.Tx
	release func()
}

// Commit implements [sqlplugin.Tx].
func (t *restTx) Commit() error {
	defer t.release()
	return t.Tx.Commit()
}

// Rollback implements [sqlplugin.Tx].
func (t *restTx) Rollback() error {
	defer t.release()
	return t.Tx.Rollback()
}
