package store

import (
	"context"
	"database/sql"
	"time"

	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// taskTable is the SQL for one of the tables that hold the tasks of a shard. A
// task that is due at some time has that time in its key.
type taskTable struct {
	insert, selectRange, delete, deleteRange string
}

// newTaskTable returns the SQL for a table. queue lists the columns that identify
// the queue, and queueCondition is a condition on them.
func newTaskTable(name, queue, queueCondition, queuePlaceholders string) taskTable {
	return taskTable{
		insert:      `INSERT INTO ` + name + ` (` + queue + `, task_id, data, data_encoding) VALUES (` + queuePlaceholders + `, ?, ?, ?)`,
		selectRange: `SELECT task_id, data, data_encoding FROM ` + name + ` WHERE ` + queueCondition + ` AND task_id >= ? AND task_id < ? ORDER BY task_id LIMIT ? + 0`,
		delete:      `DELETE FROM ` + name + ` WHERE ` + queueCondition + ` AND task_id = ?`,
		deleteRange: `DELETE FROM ` + name + ` WHERE ` + queueCondition + ` AND task_id >= ? AND task_id < ?`,
	}
}

func newTimedTaskTable(name, queue, queueCondition, queuePlaceholders string) taskTable {
	return taskTable{
		insert: `INSERT INTO ` + name + ` (` + queue + `, visibility_timestamp, task_id, data, data_encoding) VALUES (` + queuePlaceholders + `, ?, ?, ?, ?)`,
		selectRange: `SELECT visibility_timestamp, task_id, data, data_encoding FROM ` + name + ` WHERE ` + queueCondition +
			` AND (visibility_timestamp, task_id) >= (?, ?) AND visibility_timestamp < ? ORDER BY visibility_timestamp, task_id LIMIT ? + 0`,
		delete:      `DELETE FROM ` + name + ` WHERE ` + queueCondition + ` AND visibility_timestamp = ? AND task_id = ?`,
		deleteRange: `DELETE FROM ` + name + ` WHERE ` + queueCondition + ` AND visibility_timestamp >= ? AND visibility_timestamp < ?`,
	}
}

const (
	shard           = `shard_id`
	ofShard         = `shard_id = ?`
	shardCategory   = `shard_id, category_id`
	ofShardCategory = `shard_id = ? AND category_id = ?`
)

var (
	transferTasks       = newTaskTable("transfer_tasks", shard, ofShard, `?`)
	visibilityTasks     = newTaskTable("visibility_tasks", shard, ofShard, `?`)
	replicationTasks    = newTaskTable("replication_tasks", shard, ofShard, `?`)
	replicationTasksDLQ = newTaskTable("replication_tasks_dlq", `source_cluster_name, shard_id`, `source_cluster_name = ? AND shard_id = ?`, `?, ?`)
	immediateTasks      = newTaskTable("history_immediate_tasks", shardCategory, ofShardCategory, `?, ?`)
	timerTasks          = newTimedTaskTable("timer_tasks", shard, ofShard, `?`)
	scheduledTasks      = newTimedTaskTable("history_scheduled_tasks", shardCategory, ofShardCategory, `?, ?`)
)

// timestamp returns a time as the tables store it: in microseconds, and with the
// year 1000 for the zero time. As text, such times sort in order of time.
func timestamp(t time.Time) time.Time {
	if t.IsZero() {
		return time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return t.UTC().Truncate(time.Microsecond)
}

func fromTimestamp(t time.Time) time.Time {
	if t.Equal(timestamp(time.Time{})) {
		return time.Time{}.UTC()
	}
	return t.UTC()
}

// Transfer tasks.

// InsertIntoTransferTasks implements [sqlplugin.HistoryTransferTask].
func (t tables) InsertIntoTransferTasks(ctx context.Context, rows []sqlplugin.TransferTasksRow) (sql.Result, error) {
	return each(ctx, t, transferTasks.insert, rows, func(row *sqlplugin.TransferTasksRow) []any {
		return []any{row.ShardID, row.TaskID, row.Data, row.DataEncoding}
	})
}

// RangeSelectFromTransferTasks implements [sqlplugin.HistoryTransferTask].
func (t tables) RangeSelectFromTransferTasks(ctx context.Context, f sqlplugin.TransferTasksRangeFilter) ([]sqlplugin.TransferTasksRow, error) {
	return list[sqlplugin.TransferTasksRow](ctx, t, transferTasks.selectRange, nil,
		f.ShardID, f.InclusiveMinTaskID, f.ExclusiveMaxTaskID, f.PageSize)
}

// DeleteFromTransferTasks implements [sqlplugin.HistoryTransferTask].
func (t tables) DeleteFromTransferTasks(ctx context.Context, f sqlplugin.TransferTasksFilter) (sql.Result, error) {
	return t.run.exec(ctx, transferTasks.delete, f.ShardID, f.TaskID)
}

// RangeDeleteFromTransferTasks implements [sqlplugin.HistoryTransferTask].
func (t tables) RangeDeleteFromTransferTasks(ctx context.Context, f sqlplugin.TransferTasksRangeFilter) (sql.Result, error) {
	return t.run.exec(ctx, transferTasks.deleteRange, f.ShardID, f.InclusiveMinTaskID, f.ExclusiveMaxTaskID)
}

// Visibility tasks.

// InsertIntoVisibilityTasks implements [sqlplugin.HistoryVisibilityTask].
func (t tables) InsertIntoVisibilityTasks(ctx context.Context, rows []sqlplugin.VisibilityTasksRow) (sql.Result, error) {
	return each(ctx, t, visibilityTasks.insert, rows, func(row *sqlplugin.VisibilityTasksRow) []any {
		return []any{row.ShardID, row.TaskID, row.Data, row.DataEncoding}
	})
}

// RangeSelectFromVisibilityTasks implements [sqlplugin.HistoryVisibilityTask].
func (t tables) RangeSelectFromVisibilityTasks(ctx context.Context, f sqlplugin.VisibilityTasksRangeFilter) ([]sqlplugin.VisibilityTasksRow, error) {
	return list[sqlplugin.VisibilityTasksRow](ctx, t, visibilityTasks.selectRange, nil,
		f.ShardID, f.InclusiveMinTaskID, f.ExclusiveMaxTaskID, f.PageSize)
}

// DeleteFromVisibilityTasks implements [sqlplugin.HistoryVisibilityTask].
func (t tables) DeleteFromVisibilityTasks(ctx context.Context, f sqlplugin.VisibilityTasksFilter) (sql.Result, error) {
	return t.run.exec(ctx, visibilityTasks.delete, f.ShardID, f.TaskID)
}

// RangeDeleteFromVisibilityTasks implements [sqlplugin.HistoryVisibilityTask].
func (t tables) RangeDeleteFromVisibilityTasks(ctx context.Context, f sqlplugin.VisibilityTasksRangeFilter) (sql.Result, error) {
	return t.run.exec(ctx, visibilityTasks.deleteRange, f.ShardID, f.InclusiveMinTaskID, f.ExclusiveMaxTaskID)
}

// Replication tasks, of which a single cluster has none.

// InsertIntoReplicationTasks implements [sqlplugin.HistoryReplicationTask].
func (t tables) InsertIntoReplicationTasks(ctx context.Context, rows []sqlplugin.ReplicationTasksRow) (sql.Result, error) {
	return each(ctx, t, replicationTasks.insert, rows, func(row *sqlplugin.ReplicationTasksRow) []any {
		return []any{row.ShardID, row.TaskID, row.Data, row.DataEncoding}
	})
}

// RangeSelectFromReplicationTasks implements [sqlplugin.HistoryReplicationTask].
func (t tables) RangeSelectFromReplicationTasks(ctx context.Context, f sqlplugin.ReplicationTasksRangeFilter) ([]sqlplugin.ReplicationTasksRow, error) {
	return list[sqlplugin.ReplicationTasksRow](ctx, t, replicationTasks.selectRange, nil,
		f.ShardID, f.InclusiveMinTaskID, f.ExclusiveMaxTaskID, f.PageSize)
}

// DeleteFromReplicationTasks implements [sqlplugin.HistoryReplicationTask].
func (t tables) DeleteFromReplicationTasks(ctx context.Context, f sqlplugin.ReplicationTasksFilter) (sql.Result, error) {
	return t.run.exec(ctx, replicationTasks.delete, f.ShardID, f.TaskID)
}

// RangeDeleteFromReplicationTasks implements [sqlplugin.HistoryReplicationTask].
func (t tables) RangeDeleteFromReplicationTasks(ctx context.Context, f sqlplugin.ReplicationTasksRangeFilter) (sql.Result, error) {
	return t.run.exec(ctx, replicationTasks.deleteRange, f.ShardID, f.InclusiveMinTaskID, f.ExclusiveMaxTaskID)
}

// InsertIntoReplicationDLQTasks implements [sqlplugin.HistoryReplicationDLQTask].
func (t tables) InsertIntoReplicationDLQTasks(ctx context.Context, rows []sqlplugin.ReplicationDLQTasksRow) (sql.Result, error) {
	return each(ctx, t, replicationTasksDLQ.insert, rows, func(row *sqlplugin.ReplicationDLQTasksRow) []any {
		return []any{row.SourceClusterName, row.ShardID, row.TaskID, row.Data, row.DataEncoding}
	})
}

// RangeSelectFromReplicationDLQTasks implements [sqlplugin.HistoryReplicationDLQTask].
func (t tables) RangeSelectFromReplicationDLQTasks(ctx context.Context, f sqlplugin.ReplicationDLQTasksRangeFilter) ([]sqlplugin.ReplicationDLQTasksRow, error) {
	return list[sqlplugin.ReplicationDLQTasksRow](ctx, t, replicationTasksDLQ.selectRange, nil, f.SourceClusterName, f.ShardID, f.InclusiveMinTaskID, f.ExclusiveMaxTaskID, f.PageSize)
}

// DeleteFromReplicationDLQTasks implements [sqlplugin.HistoryReplicationDLQTask].
func (t tables) DeleteFromReplicationDLQTasks(ctx context.Context, f sqlplugin.ReplicationDLQTasksFilter) (sql.Result, error) {
	return t.run.exec(ctx, replicationTasksDLQ.delete, f.SourceClusterName, f.ShardID, f.TaskID)
}

// RangeDeleteFromReplicationDLQTasks implements [sqlplugin.HistoryReplicationDLQTask].
func (t tables) RangeDeleteFromReplicationDLQTasks(ctx context.Context, f sqlplugin.ReplicationDLQTasksRangeFilter) (sql.Result, error) {
	return t.run.exec(ctx, replicationTasksDLQ.deleteRange, f.SourceClusterName, f.ShardID, f.InclusiveMinTaskID, f.ExclusiveMaxTaskID)
}

// Immediate tasks: those of all other categories that are due at once.

// InsertIntoHistoryImmediateTasks implements [sqlplugin.HistoryImmediateTask].
func (t tables) InsertIntoHistoryImmediateTasks(ctx context.Context, rows []sqlplugin.HistoryImmediateTasksRow) (sql.Result, error) {
	return each(ctx, t, immediateTasks.insert, rows, func(row *sqlplugin.HistoryImmediateTasksRow) []any {
		return []any{row.ShardID, row.CategoryID, row.TaskID, row.Data, row.DataEncoding}
	})
}

// RangeSelectFromHistoryImmediateTasks implements [sqlplugin.HistoryImmediateTask].
func (t tables) RangeSelectFromHistoryImmediateTasks(ctx context.Context, f sqlplugin.HistoryImmediateTasksRangeFilter) ([]sqlplugin.HistoryImmediateTasksRow, error) {
	return list[sqlplugin.HistoryImmediateTasksRow](ctx, t, immediateTasks.selectRange, nil, f.ShardID, f.CategoryID, f.InclusiveMinTaskID, f.ExclusiveMaxTaskID, f.PageSize)
}

// DeleteFromHistoryImmediateTasks implements [sqlplugin.HistoryImmediateTask].
func (t tables) DeleteFromHistoryImmediateTasks(ctx context.Context, f sqlplugin.HistoryImmediateTasksFilter) (sql.Result, error) {
	return t.run.exec(ctx, immediateTasks.delete, f.ShardID, f.CategoryID, f.TaskID)
}

// RangeDeleteFromHistoryImmediateTasks implements [sqlplugin.HistoryImmediateTask].
func (t tables) RangeDeleteFromHistoryImmediateTasks(ctx context.Context, f sqlplugin.HistoryImmediateTasksRangeFilter) (sql.Result, error) {
	return t.run.exec(ctx, immediateTasks.deleteRange, f.ShardID, f.CategoryID, f.InclusiveMinTaskID, f.ExclusiveMaxTaskID)
}

// Timer tasks.

// InsertIntoTimerTasks implements [sqlplugin.HistoryTimerTask].
func (t tables) InsertIntoTimerTasks(ctx context.Context, rows []sqlplugin.TimerTasksRow) (sql.Result, error) {
	return each(ctx, t, timerTasks.insert, rows, func(row *sqlplugin.TimerTasksRow) []any {
		return []any{row.ShardID, timestamp(row.VisibilityTimestamp), row.TaskID, row.Data, row.DataEncoding}
	})
}

// RangeSelectFromTimerTasks implements [sqlplugin.HistoryTimerTask].
func (t tables) RangeSelectFromTimerTasks(ctx context.Context, f sqlplugin.TimerTasksRangeFilter) ([]sqlplugin.TimerTasksRow, error) {
	return list[sqlplugin.TimerTasksRow](ctx, t, timerTasks.selectRange, func(row *sqlplugin.TimerTasksRow) {
		row.VisibilityTimestamp = fromTimestamp(row.VisibilityTimestamp)
	}, f.ShardID, timestamp(f.InclusiveMinVisibilityTimestamp), f.InclusiveMinTaskID, timestamp(f.ExclusiveMaxVisibilityTimestamp), f.PageSize)
}

// DeleteFromTimerTasks implements [sqlplugin.HistoryTimerTask].
func (t tables) DeleteFromTimerTasks(ctx context.Context, f sqlplugin.TimerTasksFilter) (sql.Result, error) {
	return t.run.exec(ctx, timerTasks.delete, f.ShardID, timestamp(f.VisibilityTimestamp), f.TaskID)
}

// RangeDeleteFromTimerTasks implements [sqlplugin.HistoryTimerTask].
func (t tables) RangeDeleteFromTimerTasks(ctx context.Context, f sqlplugin.TimerTasksRangeFilter) (sql.Result, error) {
	return t.run.exec(ctx, timerTasks.deleteRange, f.ShardID, timestamp(f.InclusiveMinVisibilityTimestamp), timestamp(f.ExclusiveMaxVisibilityTimestamp))
}

// Scheduled tasks: those of all other categories that are due at some time.

// InsertIntoHistoryScheduledTasks implements [sqlplugin.HistoryScheduledTask].
func (t tables) InsertIntoHistoryScheduledTasks(ctx context.Context, rows []sqlplugin.HistoryScheduledTasksRow) (sql.Result, error) {
	return each(ctx, t, scheduledTasks.insert, rows, func(row *sqlplugin.HistoryScheduledTasksRow) []any {
		return []any{row.ShardID, row.CategoryID, timestamp(row.VisibilityTimestamp), row.TaskID, row.Data, row.DataEncoding}
	})
}

// RangeSelectFromHistoryScheduledTasks implements [sqlplugin.HistoryScheduledTask].
func (t tables) RangeSelectFromHistoryScheduledTasks(ctx context.Context, f sqlplugin.HistoryScheduledTasksRangeFilter) ([]sqlplugin.HistoryScheduledTasksRow, error) {
	return list[sqlplugin.HistoryScheduledTasksRow](ctx, t, scheduledTasks.selectRange, func(row *sqlplugin.HistoryScheduledTasksRow) {
		row.VisibilityTimestamp = timestamp(row.VisibilityTimestamp)
	}, f.ShardID, f.CategoryID, timestamp(f.InclusiveMinVisibilityTimestamp), f.InclusiveMinTaskID, timestamp(f.ExclusiveMaxVisibilityTimestamp), f.PageSize)
}

// DeleteFromHistoryScheduledTasks implements [sqlplugin.HistoryScheduledTask].
func (t tables) DeleteFromHistoryScheduledTasks(ctx context.Context, f sqlplugin.HistoryScheduledTasksFilter) (sql.Result, error) {
	return t.run.exec(ctx, scheduledTasks.delete, f.ShardID, f.CategoryID, timestamp(f.VisibilityTimestamp), f.TaskID)
}

// RangeDeleteFromHistoryScheduledTasks implements [sqlplugin.HistoryScheduledTask].
func (t tables) RangeDeleteFromHistoryScheduledTasks(ctx context.Context, f sqlplugin.HistoryScheduledTasksRangeFilter) (sql.Result, error) {
	return t.run.exec(ctx, scheduledTasks.deleteRange, f.ShardID, f.CategoryID,
		timestamp(f.InclusiveMinVisibilityTimestamp), timestamp(f.ExclusiveMaxVisibilityTimestamp))
}
