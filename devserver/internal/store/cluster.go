package store

import (
	"context"
	"database/sql"
	"errors"

	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// The tables of the cluster: its members, namespaces, shards and Nexus endpoints.
// All namespaces are in one partition, and so are all clusters.

const namespacePartition = 54321

// Shards: what is common to all workflows of a shard, and who owns it.

// InsertIntoShards implements [sqlplugin.HistoryShard].
func (t tables) InsertIntoShards(ctx context.Context, row *sqlplugin.ShardsRow) (sql.Result, error) {
	return t.run.exec(ctx, `INSERT INTO shards (shard_id, range_id, data, data_encoding) VALUES (?, ?, ?, ?)`, row.ShardID, row.RangeID, row.Data, row.DataEncoding)
}

// UpdateShards implements [sqlplugin.HistoryShard].
func (t tables) UpdateShards(ctx context.Context, row *sqlplugin.ShardsRow) (sql.Result, error) {
	return t.run.exec(ctx, `UPDATE shards SET range_id = ?, data = ?, data_encoding = ? WHERE shard_id = ?`, row.RangeID, row.Data, row.DataEncoding, row.ShardID)
}

// SelectFromShards implements [sqlplugin.HistoryShard].
func (t tables) SelectFromShards(ctx context.Context, f sqlplugin.ShardsFilter) (*sqlplugin.ShardsRow, error) {
	return one[sqlplugin.ShardsRow](ctx, t, `SELECT shard_id, range_id, data, data_encoding FROM shards WHERE shard_id = ?`, f.ShardID)
}

// ReadLockShards implements [sqlplugin.HistoryShard].
func (t tables) ReadLockShards(ctx context.Context, f sqlplugin.ShardsFilter) (rangeID int64, err error) {
	err = t.run.get(ctx, &rangeID, `SELECT range_id FROM shards WHERE shard_id = ?`, f.ShardID)
	return rangeID, err
}

// WriteLockShards implements [sqlplugin.HistoryShard].
func (t tables) WriteLockShards(ctx context.Context, f sqlplugin.ShardsFilter) (rangeID int64, err error) {
	return t.ReadLockShards(ctx, f)
}

// Namespaces.

const selectNamespaces = `SELECT id, name, is_global, data, data_encoding, notification_version FROM namespaces WHERE partition_id = ?`

// InsertIntoNamespace implements [sqlplugin.Namespace].
func (t tables) InsertIntoNamespace(ctx context.Context, row *sqlplugin.NamespaceRow) (sql.Result, error) {
	return t.run.exec(ctx, `INSERT INTO namespaces (partition_id, id, name, is_global, data, data_encoding, notification_version) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		namespacePartition, row.ID, row.Name, row.IsGlobal, row.Data, row.DataEncoding, row.NotificationVersion)
}

// UpdateNamespace implements [sqlplugin.Namespace].
func (t tables) UpdateNamespace(ctx context.Context, row *sqlplugin.NamespaceRow) (sql.Result, error) {
	return t.run.exec(ctx, `UPDATE namespaces SET name = ?, is_global = ?, data = ?, data_encoding = ?, notification_version = ? WHERE partition_id = ? AND id = ?`,
		row.Name, row.IsGlobal, row.Data, row.DataEncoding, row.NotificationVersion, namespacePartition, row.ID)
}

// SelectFromNamespace implements [sqlplugin.Namespace].
func (t tables) SelectFromNamespace(ctx context.Context, f sqlplugin.NamespaceFilter) ([]sqlplugin.NamespaceRow, error) {
	var row *sqlplugin.NamespaceRow
	var err error
	switch {
	case f.ID != nil && f.Name != nil:
		return nil, errors.New("namespaces: by id or by name, not by both")
	case f.ID != nil:
		row, err = one[sqlplugin.NamespaceRow](ctx, t, selectNamespaces+` AND id = ?`, namespacePartition, *f.ID)
	case f.Name != nil:
		row, err = one[sqlplugin.NamespaceRow](ctx, t, selectNamespaces+` AND name = ?`, namespacePartition, *f.Name)
	case f.PageSize == nil || *f.PageSize <= 0:
		return nil, errors.New("namespaces: a list needs a page size")
	default:
		after := []byte{} // less than any
		if f.GreaterThanID != nil {
			after = *f.GreaterThanID
		}
		return list[sqlplugin.NamespaceRow](ctx, t, selectNamespaces+` AND id > ? ORDER BY id LIMIT ? + 0`, nil, namespacePartition, after, *f.PageSize)
	}
	if err != nil {
		return nil, err
	}
	return []sqlplugin.NamespaceRow{*row}, nil
}

// DeleteFromNamespace implements [sqlplugin.Namespace].
func (t tables) DeleteFromNamespace(ctx context.Context, f sqlplugin.NamespaceFilter) (sql.Result, error) {
	if f.ID != nil {
		return t.run.exec(ctx, `DELETE FROM namespaces WHERE partition_id = ? AND id = ?`, namespacePartition, *f.ID)
	}
	return t.run.exec(ctx, `DELETE FROM namespaces WHERE partition_id = ? AND name = ?`, namespacePartition, f.Name)
}

// SelectFromNamespaceMetadata implements [sqlplugin.Namespace].
func (t tables) SelectFromNamespaceMetadata(ctx context.Context) (*sqlplugin.NamespaceMetadataRow, error) {
	return one[sqlplugin.NamespaceMetadataRow](ctx, t, `SELECT notification_version FROM namespace_metadata WHERE partition_id = ?`, namespacePartition)
}

// LockNamespaceMetadata implements [sqlplugin.Namespace].
func (t tables) LockNamespaceMetadata(ctx context.Context) (*sqlplugin.NamespaceMetadataRow, error) {
	return t.SelectFromNamespaceMetadata(ctx)
}

// UpdateNamespaceMetadata implements [sqlplugin.Namespace].
func (t tables) UpdateNamespaceMetadata(ctx context.Context, row *sqlplugin.NamespaceMetadataRow) (sql.Result, error) {
	return t.run.exec(ctx, `UPDATE namespace_metadata SET notification_version = ? WHERE notification_version = ? AND partition_id = ?`,
		row.NotificationVersion+1, row.NotificationVersion, namespacePartition)
}

// Clusters.

const selectClusters = `SELECT data, data_encoding, version FROM cluster_metadata_info WHERE metadata_partition = 0`

// SaveClusterMetadata implements [sqlplugin.ClusterMetadata]. A new row has
// version 0.
func (t tables) SaveClusterMetadata(ctx context.Context, row *sqlplugin.ClusterMetadataRow) (sql.Result, error) {
	if row.Version == 0 {
		return t.run.exec(ctx, `INSERT INTO cluster_metadata_info (metadata_partition, cluster_name, data, data_encoding, version) VALUES (0, ?, ?, ?, 1)`,
			row.ClusterName, row.Data, row.DataEncoding)
	}
	return t.run.exec(ctx, `UPDATE cluster_metadata_info SET data = ?, data_encoding = ?, version = ? WHERE metadata_partition = 0 AND cluster_name = ?`,
		row.Data, row.DataEncoding, row.Version+1, row.ClusterName)
}

// GetClusterMetadata implements [sqlplugin.ClusterMetadata].
func (t tables) GetClusterMetadata(ctx context.Context, f *sqlplugin.ClusterMetadataFilter) (*sqlplugin.ClusterMetadataRow, error) {
	return one[sqlplugin.ClusterMetadataRow](ctx, t, selectClusters+` AND cluster_name = ?`, f.ClusterName)
}

// WriteLockGetClusterMetadata implements [sqlplugin.ClusterMetadata].
func (t tables) WriteLockGetClusterMetadata(ctx context.Context, f *sqlplugin.ClusterMetadataFilter) (*sqlplugin.ClusterMetadataRow, error) {
	return t.GetClusterMetadata(ctx, f)
}

// ListClusterMetadata implements [sqlplugin.ClusterMetadata].
func (t tables) ListClusterMetadata(ctx context.Context, f *sqlplugin.ClusterMetadataFilter) ([]sqlplugin.ClusterMetadataRow, error) {
	return list[sqlplugin.ClusterMetadataRow](ctx, t, selectClusters+` AND cluster_name > ? ORDER BY cluster_name LIMIT ? + 0`, nil, f.ClusterName, f.PageSize)
}

// DeleteClusterMetadata implements [sqlplugin.ClusterMetadata].
func (t tables) DeleteClusterMetadata(ctx context.Context, f *sqlplugin.ClusterMetadataFilter) (sql.Result, error) {
	return t.run.exec(ctx, `DELETE FROM cluster_metadata_info WHERE metadata_partition = 0 AND cluster_name = ?`, f.ClusterName)
}

// UpsertClusterMembership implements [sqlplugin.ClusterMetadata].
func (t tables) UpsertClusterMembership(ctx context.Context, row *sqlplugin.ClusterMembershipRow) (sql.Result, error) {
	return t.run.exec(ctx, `REPLACE INTO cluster_membership (membership_partition, host_id, rpc_address, rpc_port, role, session_start, last_heartbeat, record_expiry) VALUES (0, ?, ?, ?, ?, ?, ?, ?)`,
		row.HostID, row.RPCAddress, row.RPCPort, row.Role, timestamp(row.SessionStart), timestamp(row.LastHeartbeat), timestamp(row.RecordExpiry))
}

// GetClusterMembers implements [sqlplugin.ClusterMetadata].
func (t tables) GetClusterMembers(ctx context.Context, f *sqlplugin.ClusterMembershipFilter) ([]sqlplugin.ClusterMembershipRow, error) {
	query := `SELECT host_id, rpc_address, rpc_port, role, session_start, last_heartbeat, record_expiry FROM cluster_membership WHERE membership_partition = 0`
	var args []any
	for _, condition := range []struct {
		set bool
		sql string
		arg any
	}{
		{f.HostIDEquals != nil, ` AND host_id = ?`, f.HostIDEquals},
		{f.RPCAddressEquals != "", ` AND rpc_address = ?`, f.RPCAddressEquals},
		{f.RoleEquals != persistence.All, ` AND role = ?`, f.RoleEquals},
		{!f.LastHeartbeatAfter.IsZero(), ` AND last_heartbeat > ?`, f.LastHeartbeatAfter},
		{!f.RecordExpiryAfter.IsZero(), ` AND record_expiry > ?`, f.RecordExpiryAfter},
		{!f.SessionStartedAfter.IsZero(), ` AND session_start >= ?`, f.SessionStartedAfter},
		{f.HostIDGreaterThan != nil, ` AND host_id > ?`, f.HostIDGreaterThan},
	} {
		if condition.set {
			query, args = query+condition.sql, append(args, condition.arg)
		}
	}
	limit := -1 // none
	if f.MaxRecordCount > 0 {
		limit = f.MaxRecordCount
	}
	return list(ctx, t, query+` ORDER BY host_id LIMIT ? + 0`, func(row *sqlplugin.ClusterMembershipRow) {
		row.SessionStart, row.LastHeartbeat, row.RecordExpiry = fromTimestamp(row.SessionStart), fromTimestamp(row.LastHeartbeat), fromTimestamp(row.RecordExpiry)
	}, append(args, limit)...)
}

// PruneClusterMembership implements [sqlplugin.ClusterMetadata].
func (t tables) PruneClusterMembership(ctx context.Context, f *sqlplugin.PruneClusterMembershipFilter) (sql.Result, error) {
	return t.run.exec(ctx, `DELETE FROM cluster_membership WHERE membership_partition = 0 AND record_expiry < ?`, timestamp(f.PruneRecordsBefore))
}

// Nexus endpoints.

const selectEndpoints = `SELECT id, data, data_encoding, version FROM nexus_endpoints`

// InitializeNexusEndpointsTableVersion implements [sqlplugin.NexusEndpoints].
func (t tables) InitializeNexusEndpointsTableVersion(ctx context.Context) (sql.Result, error) {
	return t.run.exec(ctx, `INSERT INTO nexus_endpoints_partition_status (version) VALUES (1)`)
}

// IncrementNexusEndpointsTableVersion implements [sqlplugin.NexusEndpoints].
func (t tables) IncrementNexusEndpointsTableVersion(ctx context.Context, last int64) (sql.Result, error) {
	return t.run.exec(ctx, `UPDATE nexus_endpoints_partition_status SET version = ? WHERE version = ?`, last+1, last)
}

// GetNexusEndpointsTableVersion implements [sqlplugin.NexusEndpoints].
func (t tables) GetNexusEndpointsTableVersion(ctx context.Context) (version int64, err error) {
	err = t.run.get(ctx, &version, `SELECT version FROM nexus_endpoints_partition_status`)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return version, err
}

// InsertIntoNexusEndpoints implements [sqlplugin.NexusEndpoints].
func (t tables) InsertIntoNexusEndpoints(ctx context.Context, row *sqlplugin.NexusEndpointsRow) (sql.Result, error) {
	return t.run.exec(ctx, `INSERT INTO nexus_endpoints (id, data, data_encoding, version) VALUES (?, ?, ?, 1)`, row.ID, row.Data, row.DataEncoding)
}

// UpdateNexusEndpoint implements [sqlplugin.NexusEndpoints].
func (t tables) UpdateNexusEndpoint(ctx context.Context, row *sqlplugin.NexusEndpointsRow) (sql.Result, error) {
	return t.run.exec(ctx, `UPDATE nexus_endpoints SET data = ?, data_encoding = ?, version = ? WHERE id = ? AND version = ?`,
		row.Data, row.DataEncoding, row.Version+1, row.ID, row.Version)
}

// DeleteFromNexusEndpoints implements [sqlplugin.NexusEndpoints].
func (t tables) DeleteFromNexusEndpoints(ctx context.Context, id []byte) (sql.Result, error) {
	return t.run.exec(ctx, `DELETE FROM nexus_endpoints WHERE id = ?`, id)
}

// GetNexusEndpointByID implements [sqlplugin.NexusEndpoints].
func (t tables) GetNexusEndpointByID(ctx context.Context, id []byte) (*sqlplugin.NexusEndpointsRow, error) {
	return one[sqlplugin.NexusEndpointsRow](ctx, t, selectEndpoints+` WHERE id = ?`, id)
}

// ListNexusEndpoints implements [sqlplugin.NexusEndpoints].
func (t tables) ListNexusEndpoints(ctx context.Context, request *sqlplugin.ListNexusEndpointsRequest) ([]sqlplugin.NexusEndpointsRow, error) {
	last := request.LastID
	if last == nil {
		last = []byte{} // less than any
	}
	return list[sqlplugin.NexusEndpointsRow](ctx, t, selectEndpoints+` WHERE id > ? ORDER BY id LIMIT ? + 0`, nil, last, request.Limit)
}
