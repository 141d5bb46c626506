package store

import (
	"context"
	"database/sql"
	"strings"

	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/primitives"
)

// mapTable is the SQL for one of the tables that hold a run's activities, timers,
// children and so on, each under a key.
type mapTable struct {
	replace, selectAll, delete, deleteAll string
}

func newMapTable(name, key string, columns ...string) mapTable {
	all := strings.Join(append([]string{key}, columns...), ", ")
	return mapTable{
		replace:   `REPLACE INTO ` + name + ` (shard_id, namespace_id, workflow_id, run_id, ` + all + `) VALUES (?, ?, ?, ?, ?` + strings.Repeat(`, ?`, len(columns)) + `)`,
		selectAll: `SELECT ` + all + ` FROM ` + name + ofRun,
		delete:    `DELETE FROM ` + name + ofRun + ` AND ` + key + ` = ?`,
		deleteAll: `DELETE FROM ` + name + ofRun,
	}
}

var (
	activities       = newMapTable("activity_info_maps", "schedule_id", "data", "data_encoding")
	timers           = newMapTable("timer_info_maps", "timer_id", "data", "data_encoding")
	children         = newMapTable("child_execution_info_maps", "initiated_id", "data", "data_encoding")
	cancelRequests   = newMapTable("request_cancel_info_maps", "initiated_id", "data", "data_encoding")
	signals          = newMapTable("signal_info_maps", "initiated_id", "data", "data_encoding")
	signalsRequested = newMapTable("signals_requested_sets", "signal_id")
	chasmNodes       = newMapTable("chasm_node_maps", "chasm_path", "metadata", "metadata_encoding", "data", "data_encoding")
)

// deleteKeys deletes the rows of a run that have one of the keys.
func deleteKeys[K any](ctx context.Context, t tables, query string, shardID int32, namespaceID primitives.UUID, workflowID string, runID primitives.UUID, keys []K) (sql.Result, error) {
	return each(ctx, t, query, keys, func(key *K) []any { return []any{shardID, namespaceID, workflowID, runID, *key} })
}

// ReplaceIntoActivityInfoMaps implements [sqlplugin.HistoryExecutionActivity].
func (t tables) ReplaceIntoActivityInfoMaps(ctx context.Context, rows []sqlplugin.ActivityInfoMapsRow) (sql.Result, error) {
	return each(ctx, t, activities.replace, rows, func(row *sqlplugin.ActivityInfoMapsRow) []any {
		return []any{row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID, row.ScheduleID, row.Data, row.DataEncoding}
	})
}

// SelectAllFromActivityInfoMaps implements [sqlplugin.HistoryExecutionActivity].
func (t tables) SelectAllFromActivityInfoMaps(ctx context.Context, f sqlplugin.ActivityInfoMapsAllFilter) ([]sqlplugin.ActivityInfoMapsRow, error) {
	return list(ctx, t, activities.selectAll, func(row *sqlplugin.ActivityInfoMapsRow) {
		row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID = f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID
	}, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// DeleteFromActivityInfoMaps implements [sqlplugin.HistoryExecutionActivity].
func (t tables) DeleteFromActivityInfoMaps(ctx context.Context, f sqlplugin.ActivityInfoMapsFilter) (sql.Result, error) {
	return deleteKeys(ctx, t, activities.delete, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID, f.ScheduleIDs)
}

// DeleteAllFromActivityInfoMaps implements [sqlplugin.HistoryExecutionActivity].
func (t tables) DeleteAllFromActivityInfoMaps(ctx context.Context, f sqlplugin.ActivityInfoMapsAllFilter) (sql.Result, error) {
	return t.run.exec(ctx, activities.deleteAll, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// ReplaceIntoTimerInfoMaps implements [sqlplugin.HistoryExecutionTimer].
func (t tables) ReplaceIntoTimerInfoMaps(ctx context.Context, rows []sqlplugin.TimerInfoMapsRow) (sql.Result, error) {
	return each(ctx, t, timers.replace, rows, func(row *sqlplugin.TimerInfoMapsRow) []any {
		return []any{row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID, row.TimerID, row.Data, row.DataEncoding}
	})
}

// SelectAllFromTimerInfoMaps implements [sqlplugin.HistoryExecutionTimer].
func (t tables) SelectAllFromTimerInfoMaps(ctx context.Context, f sqlplugin.TimerInfoMapsAllFilter) ([]sqlplugin.TimerInfoMapsRow, error) {
	return list(ctx, t, timers.selectAll, func(row *sqlplugin.TimerInfoMapsRow) {
		row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID = f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID
	}, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// DeleteFromTimerInfoMaps implements [sqlplugin.HistoryExecutionTimer].
func (t tables) DeleteFromTimerInfoMaps(ctx context.Context, f sqlplugin.TimerInfoMapsFilter) (sql.Result, error) {
	return deleteKeys(ctx, t, timers.delete, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID, f.TimerIDs)
}

// DeleteAllFromTimerInfoMaps implements [sqlplugin.HistoryExecutionTimer].
func (t tables) DeleteAllFromTimerInfoMaps(ctx context.Context, f sqlplugin.TimerInfoMapsAllFilter) (sql.Result, error) {
	return t.run.exec(ctx, timers.deleteAll, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// ReplaceIntoChildExecutionInfoMaps implements [sqlplugin.HistoryExecutionChildWorkflow].
func (t tables) ReplaceIntoChildExecutionInfoMaps(ctx context.Context, rows []sqlplugin.ChildExecutionInfoMapsRow) (sql.Result, error) {
	return each(ctx, t, children.replace, rows, func(row *sqlplugin.ChildExecutionInfoMapsRow) []any {
		return []any{row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID, row.InitiatedID, row.Data, row.DataEncoding}
	})
}

// SelectAllFromChildExecutionInfoMaps implements [sqlplugin.HistoryExecutionChildWorkflow].
func (t tables) SelectAllFromChildExecutionInfoMaps(ctx context.Context, f sqlplugin.ChildExecutionInfoMapsAllFilter) ([]sqlplugin.ChildExecutionInfoMapsRow, error) {
	return list(ctx, t, children.selectAll, func(row *sqlplugin.ChildExecutionInfoMapsRow) {
		row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID = f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID
	}, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// DeleteFromChildExecutionInfoMaps implements [sqlplugin.HistoryExecutionChildWorkflow].
func (t tables) DeleteFromChildExecutionInfoMaps(ctx context.Context, f sqlplugin.ChildExecutionInfoMapsFilter) (sql.Result, error) {
	return deleteKeys(ctx, t, children.delete, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID, f.InitiatedIDs)
}

// DeleteAllFromChildExecutionInfoMaps implements [sqlplugin.HistoryExecutionChildWorkflow].
func (t tables) DeleteAllFromChildExecutionInfoMaps(ctx context.Context, f sqlplugin.ChildExecutionInfoMapsAllFilter) (sql.Result, error) {
	return t.run.exec(ctx, children.deleteAll, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// ReplaceIntoRequestCancelInfoMaps implements [sqlplugin.HistoryExecutionRequestCancel].
func (t tables) ReplaceIntoRequestCancelInfoMaps(ctx context.Context, rows []sqlplugin.RequestCancelInfoMapsRow) (sql.Result, error) {
	return each(ctx, t, cancelRequests.replace, rows, func(row *sqlplugin.RequestCancelInfoMapsRow) []any {
		return []any{row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID, row.InitiatedID, row.Data, row.DataEncoding}
	})
}

// SelectAllFromRequestCancelInfoMaps implements [sqlplugin.HistoryExecutionRequestCancel].
func (t tables) SelectAllFromRequestCancelInfoMaps(ctx context.Context, f sqlplugin.RequestCancelInfoMapsAllFilter) ([]sqlplugin.RequestCancelInfoMapsRow, error) {
	return list(ctx, t, cancelRequests.selectAll, func(row *sqlplugin.RequestCancelInfoMapsRow) {
		row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID = f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID
	}, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// DeleteFromRequestCancelInfoMaps implements [sqlplugin.HistoryExecutionRequestCancel].
func (t tables) DeleteFromRequestCancelInfoMaps(ctx context.Context, f sqlplugin.RequestCancelInfoMapsFilter) (sql.Result, error) {
	return deleteKeys(ctx, t, cancelRequests.delete, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID, f.InitiatedIDs)
}

// DeleteAllFromRequestCancelInfoMaps implements [sqlplugin.HistoryExecutionRequestCancel].
func (t tables) DeleteAllFromRequestCancelInfoMaps(ctx context.Context, f sqlplugin.RequestCancelInfoMapsAllFilter) (sql.Result, error) {
	return t.run.exec(ctx, cancelRequests.deleteAll, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// ReplaceIntoSignalInfoMaps implements [sqlplugin.HistoryExecutionSignal].
func (t tables) ReplaceIntoSignalInfoMaps(ctx context.Context, rows []sqlplugin.SignalInfoMapsRow) (sql.Result, error) {
	return each(ctx, t, signals.replace, rows, func(row *sqlplugin.SignalInfoMapsRow) []any {
		return []any{row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID, row.InitiatedID, row.Data, row.DataEncoding}
	})
}

// SelectAllFromSignalInfoMaps implements [sqlplugin.HistoryExecutionSignal].
func (t tables) SelectAllFromSignalInfoMaps(ctx context.Context, f sqlplugin.SignalInfoMapsAllFilter) ([]sqlplugin.SignalInfoMapsRow, error) {
	return list(ctx, t, signals.selectAll, func(row *sqlplugin.SignalInfoMapsRow) {
		row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID = f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID
	}, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// DeleteFromSignalInfoMaps implements [sqlplugin.HistoryExecutionSignal].
func (t tables) DeleteFromSignalInfoMaps(ctx context.Context, f sqlplugin.SignalInfoMapsFilter) (sql.Result, error) {
	return deleteKeys(ctx, t, signals.delete, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID, f.InitiatedIDs)
}

// DeleteAllFromSignalInfoMaps implements [sqlplugin.HistoryExecutionSignal].
func (t tables) DeleteAllFromSignalInfoMaps(ctx context.Context, f sqlplugin.SignalInfoMapsAllFilter) (sql.Result, error) {
	return t.run.exec(ctx, signals.deleteAll, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// ReplaceIntoSignalsRequestedSets implements [sqlplugin.HistoryExecutionSignalRequest].
func (t tables) ReplaceIntoSignalsRequestedSets(ctx context.Context, rows []sqlplugin.SignalsRequestedSetsRow) (sql.Result, error) {
	return each(ctx, t, signalsRequested.replace, rows, func(row *sqlplugin.SignalsRequestedSetsRow) []any {
		return []any{row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID, row.SignalID}
	})
}

// SelectAllFromSignalsRequestedSets implements [sqlplugin.HistoryExecutionSignalRequest].
func (t tables) SelectAllFromSignalsRequestedSets(ctx context.Context, f sqlplugin.SignalsRequestedSetsAllFilter) ([]sqlplugin.SignalsRequestedSetsRow, error) {
	return list(ctx, t, signalsRequested.selectAll, func(row *sqlplugin.SignalsRequestedSetsRow) {
		row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID = f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID
	}, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// DeleteFromSignalsRequestedSets implements [sqlplugin.HistoryExecutionSignalRequest].
func (t tables) DeleteFromSignalsRequestedSets(ctx context.Context, f sqlplugin.SignalsRequestedSetsFilter) (sql.Result, error) {
	return deleteKeys(ctx, t, signalsRequested.delete, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID, f.SignalIDs)
}

// DeleteAllFromSignalsRequestedSets implements [sqlplugin.HistoryExecutionSignalRequest].
func (t tables) DeleteAllFromSignalsRequestedSets(ctx context.Context, f sqlplugin.SignalsRequestedSetsAllFilter) (sql.Result, error) {
	return t.run.exec(ctx, signalsRequested.deleteAll, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// ReplaceIntoChasmNodeMaps implements [sqlplugin.HistoryExecutionChasm].
func (t tables) ReplaceIntoChasmNodeMaps(ctx context.Context, rows []sqlplugin.ChasmNodeMapsRow) (sql.Result, error) {
	return each(ctx, t, chasmNodes.replace, rows, func(row *sqlplugin.ChasmNodeMapsRow) []any {
		return []any{row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID, row.ChasmPath, row.Metadata, row.MetadataEncoding, row.Data, row.DataEncoding}
	})
}

// SelectAllFromChasmNodeMaps implements [sqlplugin.HistoryExecutionChasm].
func (t tables) SelectAllFromChasmNodeMaps(ctx context.Context, f sqlplugin.ChasmNodeMapsAllFilter) ([]sqlplugin.ChasmNodeMapsRow, error) {
	return list(ctx, t, chasmNodes.selectAll, func(row *sqlplugin.ChasmNodeMapsRow) {
		row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID = f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID
	}, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// DeleteFromChasmNodeMaps implements [sqlplugin.HistoryExecutionChasm].
func (t tables) DeleteFromChasmNodeMaps(ctx context.Context, f sqlplugin.ChasmNodeMapsFilter) (sql.Result, error) {
	return deleteKeys(ctx, t, chasmNodes.delete, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID, f.ChasmPaths)
}

// DeleteAllFromChasmNodeMaps implements [sqlplugin.HistoryExecutionChasm].
func (t tables) DeleteAllFromChasmNodeMaps(ctx context.Context, f sqlplugin.ChasmNodeMapsAllFilter) (sql.Result, error) {
	return t.run.exec(ctx, chasmNodes.deleteAll, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}
