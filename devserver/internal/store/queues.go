package store

import (
	"context"
	"database/sql"

	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// Queues in which the server's services leave messages for each other, of the
// first version and of the second.

const selectMessages = `SELECT message_id, message_payload, message_encoding FROM queue WHERE queue_type = ?`

// InsertIntoMessages implements [sqlplugin.QueueMessage].
func (t tables) InsertIntoMessages(ctx context.Context, rows []sqlplugin.QueueMessageRow) (sql.Result, error) {
	return each(ctx, t, `INSERT INTO queue (queue_type, message_id, message_payload, message_encoding) VALUES (?, ?, ?, ?)`, rows,
		func(row *sqlplugin.QueueMessageRow) []any {
			return []any{row.QueueType, row.MessageID, row.MessagePayload, row.MessageEncoding}
		})
}

// SelectFromMessages implements [sqlplugin.QueueMessage].
func (t tables) SelectFromMessages(ctx context.Context, f sqlplugin.QueueMessagesFilter) ([]sqlplugin.QueueMessageRow, error) {
	return list[sqlplugin.QueueMessageRow](ctx, t, selectMessages+` AND message_id = ?`, nil, f.QueueType, f.MessageID)
}

// RangeSelectFromMessages implements [sqlplugin.QueueMessage].
func (t tables) RangeSelectFromMessages(ctx context.Context, f sqlplugin.QueueMessagesRangeFilter) ([]sqlplugin.QueueMessageRow, error) {
	return list[sqlplugin.QueueMessageRow](ctx, t, selectMessages+` AND message_id > ? AND message_id <= ? ORDER BY message_id LIMIT ? + 0`, nil,
		f.QueueType, f.MinMessageID, f.MaxMessageID, f.PageSize)
}

// DeleteFromMessages implements [sqlplugin.QueueMessage].
func (t tables) DeleteFromMessages(ctx context.Context, f sqlplugin.QueueMessagesFilter) (sql.Result, error) {
	return t.run.exec(ctx, `DELETE FROM queue WHERE queue_type = ? AND message_id = ?`, f.QueueType, f.MessageID)
}

// RangeDeleteFromMessages implements [sqlplugin.QueueMessage].
func (t tables) RangeDeleteFromMessages(ctx context.Context, f sqlplugin.QueueMessagesRangeFilter) (sql.Result, error) {
	return t.run.exec(ctx, `DELETE FROM queue WHERE queue_type = ? AND message_id > ? AND message_id <= ?`, f.QueueType, f.MinMessageID, f.MaxMessageID)
}

// GetLastEnqueuedMessageIDForUpdate implements [sqlplugin.QueueMessage].
func (t tables) GetLastEnqueuedMessageIDForUpdate(ctx context.Context, queue persistence.QueueType) (id int64, err error) {
	err = t.run.get(ctx, &id, `SELECT message_id FROM queue WHERE queue_type = ? ORDER BY message_id DESC LIMIT 1`, queue)
	return id, err
}

// InsertIntoQueueMetadata implements [sqlplugin.QueueMetadata].
func (t tables) InsertIntoQueueMetadata(ctx context.Context, row *sqlplugin.QueueMetadataRow) (sql.Result, error) {
	return t.run.exec(ctx, `INSERT INTO queue_metadata (queue_type, data, data_encoding, version) VALUES (?, ?, ?, ?)`,
		row.QueueType, row.Data, row.DataEncoding, row.Version)
}

// UpdateQueueMetadata implements [sqlplugin.QueueMetadata].
func (t tables) UpdateQueueMetadata(ctx context.Context, row *sqlplugin.QueueMetadataRow) (sql.Result, error) {
	return t.run.exec(ctx, `UPDATE queue_metadata SET data = ?, data_encoding = ?, version = ? WHERE queue_type = ? AND version = ?`,
		row.Data, row.DataEncoding, row.Version+1, row.QueueType, row.Version)
}

// SelectFromQueueMetadata implements [sqlplugin.QueueMetadata].
func (t tables) SelectFromQueueMetadata(ctx context.Context, f sqlplugin.QueueMetadataFilter) (*sqlplugin.QueueMetadataRow, error) {
	return one[sqlplugin.QueueMetadataRow](ctx, t, `SELECT data, data_encoding, version FROM queue_metadata WHERE queue_type = ?`, f.QueueType)
}

// LockQueueMetadata implements [sqlplugin.QueueMetadata].
func (t tables) LockQueueMetadata(ctx context.Context, f sqlplugin.QueueMetadataFilter) (*sqlplugin.QueueMetadataRow, error) {
	return t.SelectFromQueueMetadata(ctx, f)
}

// The second version.

const ofQueueV2 = ` WHERE queue_type = ? AND queue_name = ?`

// InsertIntoQueueV2Messages implements [sqlplugin.QueueV2Message].
func (t tables) InsertIntoQueueV2Messages(ctx context.Context, rows []sqlplugin.QueueV2MessageRow) (sql.Result, error) {
	return each(ctx, t, `INSERT INTO queue_messages (queue_type, queue_name, queue_partition, message_id, message_payload, message_encoding) VALUES (?, ?, ?, ?, ?, ?)`, rows,
		func(row *sqlplugin.QueueV2MessageRow) []any {
			return []any{row.QueueType, row.QueueName, row.QueuePartition, row.MessageID, row.MessagePayload, row.MessageEncoding}
		})
}

// RangeSelectFromQueueV2Messages implements [sqlplugin.QueueV2Message].
func (t tables) RangeSelectFromQueueV2Messages(ctx context.Context, f sqlplugin.QueueV2MessagesFilter) ([]sqlplugin.QueueV2MessageRow, error) {
	return list[sqlplugin.QueueV2MessageRow](ctx, t, `SELECT message_id, message_payload, message_encoding FROM queue_messages`+ofQueueV2+
		` AND queue_partition = ? AND message_id >= ? ORDER BY message_id LIMIT ? + 0`, nil, f.QueueType, f.QueueName, f.Partition, f.MinMessageID, f.PageSize)
}

// RangeDeleteFromQueueV2Messages implements [sqlplugin.QueueV2Message].
func (t tables) RangeDeleteFromQueueV2Messages(ctx context.Context, f sqlplugin.QueueV2MessagesFilter) (sql.Result, error) {
	return t.run.exec(ctx, `DELETE FROM queue_messages`+ofQueueV2+` AND queue_partition = ? AND message_id >= ? AND message_id <= ?`,
		f.QueueType, f.QueueName, f.Partition, f.MinMessageID, f.MaxMessageID)
}

// GetLastEnqueuedMessageIDForUpdateV2 implements [sqlplugin.QueueV2Message].
func (t tables) GetLastEnqueuedMessageIDForUpdateV2(ctx context.Context, f sqlplugin.QueueV2Filter) (id int64, err error) {
	err = t.run.get(ctx, &id, `SELECT message_id FROM queue_messages`+ofQueueV2+` AND queue_partition = ? ORDER BY message_id DESC LIMIT 1`, f.QueueType, f.QueueName, f.Partition)
	return id, err
}

// InsertIntoQueueV2Metadata implements [sqlplugin.QueueV2Metadata].
func (t tables) InsertIntoQueueV2Metadata(ctx context.Context, row *sqlplugin.QueueV2MetadataRow) (sql.Result, error) {
	return t.run.exec(ctx, `INSERT INTO queues (queue_type, queue_name, metadata_payload, metadata_encoding) VALUES (?, ?, ?, ?)`,
		row.QueueType, row.QueueName, row.MetadataPayload, row.MetadataEncoding)
}

// UpdateQueueV2Metadata implements [sqlplugin.QueueV2Metadata].
func (t tables) UpdateQueueV2Metadata(ctx context.Context, row *sqlplugin.QueueV2MetadataRow) (sql.Result, error) {
	return t.run.exec(ctx, `UPDATE queues SET metadata_payload = ?, metadata_encoding = ?`+ofQueueV2, row.MetadataPayload, row.MetadataEncoding, row.QueueType, row.QueueName)
}

// SelectFromQueueV2Metadata implements [sqlplugin.QueueV2Metadata].
func (t tables) SelectFromQueueV2Metadata(ctx context.Context, f sqlplugin.QueueV2MetadataFilter) (*sqlplugin.QueueV2MetadataRow, error) {
	return one[sqlplugin.QueueV2MetadataRow](ctx, t, `SELECT metadata_payload, metadata_encoding FROM queues`+ofQueueV2, f.QueueType, f.QueueName)
}

// SelectFromQueueV2MetadataForUpdate implements [sqlplugin.QueueV2Metadata].
func (t tables) SelectFromQueueV2MetadataForUpdate(ctx context.Context, f sqlplugin.QueueV2MetadataFilter) (*sqlplugin.QueueV2MetadataRow, error) {
	return t.SelectFromQueueV2Metadata(ctx, f)
}

// SelectNameFromQueueV2Metadata implements [sqlplugin.QueueV2Metadata].
func (t tables) SelectNameFromQueueV2Metadata(ctx context.Context, f sqlplugin.QueueV2MetadataTypeFilter) ([]sqlplugin.QueueV2MetadataRow, error) {
	return list[sqlplugin.QueueV2MetadataRow](ctx, t, `SELECT queue_type, queue_name, metadata_payload, metadata_encoding FROM queues WHERE queue_type = ? ORDER BY queue_name LIMIT ? + 0 OFFSET ?`, nil,
		f.QueueType, f.PageSize, f.PageOffset)
}
