package store

import (
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

// PluginName is the name by which the server's configuration asks for a database
// that [Open] has opened.
const PluginName = "sqlite-prepared"

func init() { sql.RegisterPlugin(PluginName, plugin{}) }

// open holds the open databases by name, because a plugin is told only the name.
var open sync.Map

type plugin struct{}

// GetVisibilityQueryConverter implements [sqlplugin.Plugin]: the tables are those
// of Temporal's plugin, and so are the queries.
func (plugin) GetVisibilityQueryConverter() sqlplugin.VisibilityQueryConverter {
	converter, err := sql.GetPluginVisibilityQueryConverter(sqliteplugin.PluginName)
	if err != nil {
		panic(err) // it is linked in
	}
	return converter
}

// CreateDB implements [sqlplugin.Plugin].
func (plugin) CreateDB(_ sqlplugin.DbKind, cfg *config.SQL, _ resolver.ServiceResolver, _ log.Logger, _ metrics.Handler) (sqlplugin.GenericDB, error) {
	db, ok := open.Load(cfg.DatabaseName)
	if !ok {
		return nil, fmt.Errorf("database %s is not open", cfg.DatabaseName)
	}
	return db.(*DB), nil
}
