package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/server/common/persistence"
)

// shardStore keeps the shards: what is common to all workflows of a shard, and
// who owns it.
type shardStore struct {
	db          *DB
	clusterName string
}

func (s shardStore) Close()                 {}
func (s shardStore) GetName() string        { return s.db.PluginName() }
func (s shardStore) GetClusterName() string { return s.clusterName }

// shardRow is a row of the table.
type shardRow struct {
	RangeID      int64
	Data         []byte
	DataEncoding string
}

func (s shardStore) GetOrCreateShard(ctx context.Context, request *persistence.InternalGetOrCreateShardRequest) (*persistence.InternalGetOrCreateShardResponse, error) {
	unavailable := func(err error) error {
		return serviceerror.NewUnavailable(fmt.Sprintf("shard %d: %v", request.ShardID, err))
	}
	var row shardRow
	err := s.db.run.get(ctx, &row, `SELECT range_id, data, data_encoding FROM shards WHERE shard_id = ?`, request.ShardID)
	if err == nil {
		return &persistence.InternalGetOrCreateShardResponse{ShardInfo: persistence.NewDataBlob(row.Data, row.DataEncoding)}, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return nil, unavailable(err)
	}
	if request.CreateShardInfo == nil {
		return nil, serviceerror.NewNotFound(fmt.Sprintf("shard %d does not exist", request.ShardID))
	}
	rangeID, info, err := request.CreateShardInfo()
	if err != nil {
		return nil, unavailable(err)
	}
	if _, err := s.db.run.exec(ctx, `INSERT INTO shards (shard_id, range_id, data, data_encoding) VALUES (?, ?, ?, ?)`,
		request.ShardID, rangeID, info.Data, info.EncodingType.String()); err != nil {
		return nil, unavailable(err)
	}
	return &persistence.InternalGetOrCreateShardResponse{ShardInfo: info}, nil
}

func (s shardStore) UpdateShard(ctx context.Context, request *persistence.InternalUpdateShardRequest) error {
	result, err := s.db.run.exec(ctx, `UPDATE shards SET range_id = ?, data = ?, data_encoding = ? WHERE shard_id = ? AND range_id = ?`,
		request.RangeID, request.ShardInfo.Data, request.ShardInfo.EncodingType.String(), request.ShardID, request.PreviousRangeID)
	if err == nil {
		var updated int64
		if updated, err = result.RowsAffected(); err == nil && updated == 1 {
			return nil
		}
	}
	if err != nil {
		return serviceerror.NewUnavailable(fmt.Sprintf("shard %d: %v", request.ShardID, err))
	}
	return &persistence.ShardOwnershipLostError{
		ShardID: request.ShardID,
		Msg:     fmt.Sprintf("shard %d is not at range %d any more", request.ShardID, request.PreviousRangeID),
	}
}

// AssertShardOwnership has nothing to do: each write asserts it.
func (s shardStore) AssertShardOwnership(context.Context, *persistence.AssertShardOwnershipRequest) error {
	return nil
}
