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
	"go.temporal.io/server/schema/sqlite"
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
func (plugin) CreateDB(kind sqlplugin.DbKind, cfg *config.SQL, _ resolver.ServiceResolver, _ log.Logger, _ metrics.Handler) (sqlplugin.GenericDB, error) {
	db, ok := open.Load(cfg.DatabaseName)
	if !ok {
		return nil, fmt.Errorf("database %s is not open", cfg.DatabaseName)
	}
	return &handle{DB: db.(*DB), kind: kind}, nil
}

// handle is a database as the server uses it: the server asks it for the version
// of its schema.
type handle struct {
	*DB
	sqlplugin.AdminCRUD // nil: the server does not use it
	kind                sqlplugin.DbKind
}

var (
	_ sqlplugin.DB      = (*handle)(nil)
	_ sqlplugin.AdminDB = (*handle)(nil)
)

// ExpectedVersion implements [sqlplugin.AdminDB].
func (h *handle) ExpectedVersion() string {
	if h.kind == sqlplugin.DbKindVisibility {
		return sqlite.VisibilityVersion
	}
	return sqlite.Version
}

// VerifyVersion implements [sqlplugin.AdminDB]. It has nothing to do: the schema
// of a file is checked before the file is opened.
func (h *handle) VerifyVersion() error { return nil }
