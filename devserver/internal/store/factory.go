package store

import (
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/client"
	"go.temporal.io/server/common/persistence/serialization"
	"go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/resolver"
)

// Factory makes the stores of a server whose history is in History, and
// everything else in a database of Temporal's SQLite plugin.
type Factory struct {
	History *DB
	Rest    config.SQL
}

var _ client.AbstractDataStoreFactory = Factory{}

// NewFactory implements [client.AbstractDataStoreFactory]. The configuration
// that it is handed is of no interest.
func (f Factory) NewFactory(_ config.CustomDatastoreConfig, r resolver.ServiceResolver, clusterName string,
	logger log.Logger, metrics metrics.Handler, serializer serialization.Serializer) persistence.DataStoreFactory {
	return &stores{
		Factory:     sql.NewFactory(f.Rest, r, clusterName, logger, metrics, serializer),
		history:     f.History,
		clusterName: clusterName,
		logger:      logger,
		serializer:  serializer,
	}
}

type stores struct {
	*sql.Factory
	history     *DB
	clusterName string
	logger      log.Logger
	serializer  serialization.Serializer
}

func (s *stores) NewExecutionStore() (persistence.ExecutionStore, error) {
	return sql.NewSQLExecutionStore(s.history, s.logger, s.serializer)
}

func (s *stores) NewShardStore() (persistence.ShardStore, error) {
	return shardStore{db: s.history, clusterName: s.clusterName}, nil
}
