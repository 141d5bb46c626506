package store

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// tables implements all tables except visibility. Those of the history service are
// in this file, in tasks.go and in maps.go.
type tables struct{ run runner }

// each executes a statement once for each row.
func each[T any](ctx context.Context, t tables, query string, rows []T, args func(*T) []any) (sql.Result, error) {
	var total int64
	for i := range rows {
		result, err := t.run.exec(ctx, query, args(&rows[i])...)
		if err != nil {
			return nil, err
		}
		affected, err := result.RowsAffected()
		if err != nil {
			return nil, err
		}
		total += affected
	}
	return driver.RowsAffected(total), nil
}

// one reads a row, or returns [sql.ErrNoRows].
func one[T any](ctx context.Context, t tables, query string, args ...any) (*T, error) {
	var row T
	if err := t.run.get(ctx, &row, query, args...); err != nil {
		return nil, err
	}
	return &row, nil
}

// list reads rows. fill completes each of them, unless it is nil.
func list[T any](ctx context.Context, t tables, query string, fill func(*T), args ...any) ([]T, error) {
	var rows []T
	if err := t.run.list(ctx, &rows, query, args...); err != nil {
		return nil, err
	}
	if fill != nil {
		for i := range rows {
			fill(&rows[i])
		}
	}
	return rows, nil
}

// Executions: the state of each run.

const (
	ofRun = ` WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? AND run_id = ?`

	executionColumns = `next_event_id, last_write_version, data, data_encoding, state, state_encoding, db_record_version`
	insertExecution  = `INSERT INTO executions (` + executionColumns + `, shard_id, namespace_id, workflow_id, run_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateExecution  = `UPDATE executions SET (` + executionColumns + `) = (?, ?, ?, ?, ?, ?, ?)` + ofRun
	selectExecution  = `SELECT ` + executionColumns + `, shard_id, namespace_id, workflow_id, run_id FROM executions` + ofRun
	versionOfRun     = `SELECT db_record_version, next_event_id FROM executions` + ofRun
	deleteExecution  = `DELETE FROM executions` + ofRun
)

func executionArgs(row *sqlplugin.ExecutionsRow) []any {
	return []any{row.NextEventID, row.LastWriteVersion, row.Data, row.DataEncoding, row.State, row.StateEncoding, row.DBRecordVersion,
		row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID}
}

// InsertIntoExecutions implements [sqlplugin.HistoryExecution].
func (t tables) InsertIntoExecutions(ctx context.Context, row *sqlplugin.ExecutionsRow) (sql.Result, error) {
	return t.run.exec(ctx, insertExecution, executionArgs(row)...)
}

// UpdateExecutions implements [sqlplugin.HistoryExecution].
func (t tables) UpdateExecutions(ctx context.Context, row *sqlplugin.ExecutionsRow) (sql.Result, error) {
	return t.run.exec(ctx, updateExecution, executionArgs(row)...)
}

// SelectFromExecutions implements [sqlplugin.HistoryExecution].
func (t tables) SelectFromExecutions(ctx context.Context, f sqlplugin.ExecutionsFilter) (*sqlplugin.ExecutionsRow, error) {
	return one[sqlplugin.ExecutionsRow](ctx, t, selectExecution, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// DeleteFromExecutions implements [sqlplugin.HistoryExecution].
func (t tables) DeleteFromExecutions(ctx context.Context, f sqlplugin.ExecutionsFilter) (sql.Result, error) {
	return t.run.exec(ctx, deleteExecution, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// ReadLockExecutions implements [sqlplugin.HistoryExecution].
func (t tables) ReadLockExecutions(ctx context.Context, f sqlplugin.ExecutionsFilter) (recordVersion, nextEventID int64, err error) {
	var version sqlplugin.ExecutionVersion
	err = t.run.get(ctx, &version, versionOfRun, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
	return version.DBRecordVersion, version.NextEventID, err
}

// WriteLockExecutions implements [sqlplugin.HistoryExecution].
func (t tables) WriteLockExecutions(ctx context.Context, f sqlplugin.ExecutionsFilter) (recordVersion, nextEventID int64, err error) {
	return t.ReadLockExecutions(ctx, f)
}

// Current executions: the run that a workflow id stands for.

// currentTable is the SQL for one of the two tables: workflows have their own, and
// everything else that the server runs shares the other.
type currentTable struct {
	insert, update, selectRow, selectJoined, delete string
	archetypes                                      bool // it has a column for them
}

var (
	currentWorkflows = newCurrentTable("current_executions", "workflow_id", false)
	currentOthers    = newCurrentTable("current_chasm_executions", "business_id", true)
)

func newCurrentTable(name, id string, archetypes bool) currentTable {
	const columns = `run_id, create_request_id, state, status, start_time, last_write_version, data, data_encoding`
	key, placeholders, condition, joined := `shard_id, namespace_id, `+id, `?, ?, ?`, `shard_id = ? AND namespace_id = ? AND `+id+` = ?`,
		`c.shard_id = ? AND c.namespace_id = ? AND c.`+id+` = ?`
	if archetypes {
		key, placeholders, condition, joined = key+`, archetype_id`, placeholders+`, ?`, condition+` AND archetype_id = ?`, joined+` AND c.archetype_id = ?`
	}
	return currentTable{
		insert:    `INSERT INTO ` + name + ` (` + columns + `, ` + key + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ` + placeholders + `)`,
		update:    `UPDATE ` + name + ` SET (` + columns + `) = (?, ?, ?, ?, ?, ?, ?, ?) WHERE ` + condition,
		selectRow: `SELECT shard_id, namespace_id, ` + id + ` AS workflow_id, ` + columns + ` FROM ` + name + ` WHERE ` + condition,
		selectJoined: `SELECT c.shard_id, c.namespace_id, c.` + id + ` AS workflow_id, c.run_id, c.create_request_id, c.state, c.status, c.start_time, e.last_write_version, c.data, c.data_encoding FROM ` + name + ` c` +
			` JOIN executions e ON e.shard_id = c.shard_id AND e.namespace_id = c.namespace_id AND e.workflow_id = c.` + id + ` AND e.run_id = c.run_id WHERE ` + joined,
		delete:     `DELETE FROM ` + name + ` WHERE ` + condition + ` AND run_id = ?`,
		archetypes: archetypes,
	}
}

func currentOf(archetype chasm.ArchetypeID) currentTable {
	if archetype == chasm.WorkflowArchetypeID {
		return currentWorkflows
	}
	return currentOthers
}

func (c currentTable) key(args []any, f sqlplugin.CurrentExecutionsFilter) []any {
	args = append(args, f.ShardID, f.NamespaceID, f.WorkflowID)
	if c.archetypes {
		args = append(args, f.ArchetypeID)
	}
	return args
}

func (c currentTable) row(row *sqlplugin.CurrentExecutionsRow) []any {
	return c.key([]any{row.RunID, row.CreateRequestID, row.State, row.Status, row.StartTime, row.LastWriteVersion, row.Data, row.DataEncoding},
		sqlplugin.CurrentExecutionsFilter{ShardID: row.ShardID, NamespaceID: row.NamespaceID, WorkflowID: row.WorkflowID, ArchetypeID: row.ArchetypeID})
}

// InsertIntoCurrentExecutions implements [sqlplugin.HistoryExecution].
func (t tables) InsertIntoCurrentExecutions(ctx context.Context, row *sqlplugin.CurrentExecutionsRow) (sql.Result, error) {
	c := currentOf(row.ArchetypeID)
	return t.run.exec(ctx, c.insert, c.row(row)...)
}

// UpdateCurrentExecutions implements [sqlplugin.HistoryExecution].
func (t tables) UpdateCurrentExecutions(ctx context.Context, row *sqlplugin.CurrentExecutionsRow) (sql.Result, error) {
	c := currentOf(row.ArchetypeID)
	return t.run.exec(ctx, c.update, c.row(row)...)
}

// SelectFromCurrentExecutions implements [sqlplugin.HistoryExecution].
func (t tables) SelectFromCurrentExecutions(ctx context.Context, f sqlplugin.CurrentExecutionsFilter) (*sqlplugin.CurrentExecutionsRow, error) {
	row := sqlplugin.CurrentExecutionsRow{ArchetypeID: f.ArchetypeID}
	c := currentOf(f.ArchetypeID)
	err := t.run.get(ctx, &row, c.selectRow, c.key(nil, f)...)
	return &row, err
}

// DeleteFromCurrentExecutions implements [sqlplugin.HistoryExecution].
func (t tables) DeleteFromCurrentExecutions(ctx context.Context, f sqlplugin.CurrentExecutionsFilter) (sql.Result, error) {
	c := currentOf(f.ArchetypeID)
	return t.run.exec(ctx, c.delete, append(c.key(nil, f), f.RunID)...)
}

// LockCurrentExecutions implements [sqlplugin.HistoryExecution].
func (t tables) LockCurrentExecutions(ctx context.Context, f sqlplugin.CurrentExecutionsFilter) (*sqlplugin.CurrentExecutionsRow, error) {
	return t.SelectFromCurrentExecutions(ctx, f)
}

// LockCurrentExecutionsJoinExecutions implements [sqlplugin.HistoryExecution].
func (t tables) LockCurrentExecutionsJoinExecutions(ctx context.Context, f sqlplugin.CurrentExecutionsFilter) ([]sqlplugin.CurrentExecutionsRow, error) {
	c := currentOf(f.ArchetypeID)
	return list[sqlplugin.CurrentExecutionsRow](ctx, t, c.selectJoined, func(row *sqlplugin.CurrentExecutionsRow) { row.ArchetypeID = f.ArchetypeID }, c.key(nil, f)...)
}

// Buffered events: those that came while a workflow task was under way.

// InsertIntoBufferedEvents implements [sqlplugin.HistoryExecutionBuffer].
func (t tables) InsertIntoBufferedEvents(ctx context.Context, rows []sqlplugin.BufferedEventsRow) (sql.Result, error) {
	return each(ctx, t, `INSERT INTO buffered_events (shard_id, namespace_id, workflow_id, run_id, data, data_encoding) VALUES (?, ?, ?, ?, ?, ?)`,
		rows, func(row *sqlplugin.BufferedEventsRow) []any {
			return []any{row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID, row.Data, row.DataEncoding}
		})
}

// SelectFromBufferedEvents implements [sqlplugin.HistoryExecutionBuffer].
func (t tables) SelectFromBufferedEvents(ctx context.Context, f sqlplugin.BufferedEventsFilter) ([]sqlplugin.BufferedEventsRow, error) {
	return list[sqlplugin.BufferedEventsRow](ctx, t, `SELECT data, data_encoding FROM buffered_events`+ofRun+` ORDER BY id`, func(row *sqlplugin.BufferedEventsRow) {
		row.ShardID, row.NamespaceID, row.WorkflowID, row.RunID = f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID
	}, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// DeleteFromBufferedEvents implements [sqlplugin.HistoryExecutionBuffer].
func (t tables) DeleteFromBufferedEvents(ctx context.Context, f sqlplugin.BufferedEventsFilter) (sql.Result, error) {
	return t.run.exec(ctx, `DELETE FROM buffered_events`+ofRun, f.ShardID, f.NamespaceID, f.WorkflowID, f.RunID)
}

// History: the events of each run, in nodes of the branches of a tree. Transaction
// ids are stored negated, so that the latest one comes first.

const (
	ofBranch    = ` WHERE shard_id = ? AND tree_id = ? AND branch_id = ?`
	selectNodes = `SELECT node_id, prev_txn_id, txn_id, data, data_encoding FROM history_node`
	forward     = ofBranch + ` AND ((node_id = ? AND txn_id > ?) OR node_id > ?) AND node_id < ? ORDER BY node_id, txn_id LIMIT ? + 0`
	backward    = ofBranch + ` AND node_id >= ? AND ((node_id = ? AND txn_id < ?) OR node_id < ?) ORDER BY node_id DESC, txn_id DESC LIMIT ? + 0`
)

// InsertIntoHistoryNode implements [sqlplugin.HistoryNode].
func (t tables) InsertIntoHistoryNode(ctx context.Context, row *sqlplugin.HistoryNodeRow) (sql.Result, error) {
	return t.run.exec(ctx, `REPLACE INTO history_node (shard_id, tree_id, branch_id, node_id, prev_txn_id, txn_id, data, data_encoding) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		row.ShardID, row.TreeID, row.BranchID, row.NodeID, row.PrevTxnID, -row.TxnID, row.Data, row.DataEncoding)
}

// DeleteFromHistoryNode implements [sqlplugin.HistoryNode].
func (t tables) DeleteFromHistoryNode(ctx context.Context, row *sqlplugin.HistoryNodeRow) (sql.Result, error) {
	return t.run.exec(ctx, `DELETE FROM history_node`+ofBranch+` AND node_id = ? AND txn_id = ?`, row.ShardID, row.TreeID, row.BranchID, row.NodeID, -row.TxnID)
}

// RangeSelectFromHistoryNode implements [sqlplugin.HistoryNode].
func (t tables) RangeSelectFromHistoryNode(ctx context.Context, f sqlplugin.HistoryNodeSelectFilter) ([]sqlplugin.HistoryNodeRow, error) {
	fill := func(row *sqlplugin.HistoryNodeRow) { row.TxnID = -row.TxnID }
	switch {
	case f.MetadataOnly:
		return list[sqlplugin.HistoryNodeRow](ctx, t, `SELECT node_id, prev_txn_id, txn_id FROM history_node`+forward, fill,
			f.ShardID, f.TreeID, f.BranchID, f.MinNodeID, -f.MinTxnID, f.MinNodeID, f.MaxNodeID, f.PageSize)
	case f.ReverseOrder:
		return list[sqlplugin.HistoryNodeRow](ctx, t, selectNodes+backward, fill,
			f.ShardID, f.TreeID, f.BranchID, f.MinNodeID, f.MaxTxnID, -f.MaxTxnID, f.MaxNodeID, f.PageSize)
	}
	return list[sqlplugin.HistoryNodeRow](ctx, t, selectNodes+forward, fill,
		f.ShardID, f.TreeID, f.BranchID, f.MinNodeID, -f.MinTxnID, f.MinNodeID, f.MaxNodeID, f.PageSize)
}

// RangeDeleteFromHistoryNode implements [sqlplugin.HistoryNode].
func (t tables) RangeDeleteFromHistoryNode(ctx context.Context, f sqlplugin.HistoryNodeDeleteFilter) (sql.Result, error) {
	return t.run.exec(ctx, `DELETE FROM history_node`+ofBranch+` AND node_id >= ?`, f.ShardID, f.TreeID, f.BranchID, f.MinNodeID)
}

// InsertIntoHistoryTree implements [sqlplugin.HistoryTree].
func (t tables) InsertIntoHistoryTree(ctx context.Context, row *sqlplugin.HistoryTreeRow) (sql.Result, error) {
	return t.run.exec(ctx, `REPLACE INTO history_tree (shard_id, tree_id, branch_id, data, data_encoding) VALUES (?, ?, ?, ?, ?)`,
		row.ShardID, row.TreeID, row.BranchID, row.Data, row.DataEncoding)
}

// SelectFromHistoryTree implements [sqlplugin.HistoryTree].
func (t tables) SelectFromHistoryTree(ctx context.Context, f sqlplugin.HistoryTreeSelectFilter) ([]sqlplugin.HistoryTreeRow, error) {
	return list[sqlplugin.HistoryTreeRow](ctx, t, `SELECT branch_id, data, data_encoding FROM history_tree WHERE shard_id = ? AND tree_id = ?`,
		nil, f.ShardID, f.TreeID)
}

// DeleteFromHistoryTree implements [sqlplugin.HistoryTree].
func (t tables) DeleteFromHistoryTree(ctx context.Context, f sqlplugin.HistoryTreeDeleteFilter) (sql.Result, error) {
	return t.run.exec(ctx, `DELETE FROM history_tree`+ofBranch, f.ShardID, f.TreeID, f.BranchID)
}

// PaginateBranchesFromHistoryTree implements [sqlplugin.HistoryTree].
func (t tables) PaginateBranchesFromHistoryTree(ctx context.Context, page sqlplugin.HistoryTreeBranchPage) ([]sqlplugin.HistoryTreeRow, error) {
	return list[sqlplugin.HistoryTreeRow](ctx, t, `SELECT shard_id, tree_id, branch_id, data, data_encoding FROM history_tree
		WHERE (shard_id, tree_id, branch_id) > (?, ?, ?) ORDER BY shard_id, tree_id, branch_id LIMIT ? + 0`,
		nil, page.ShardID, page.TreeID, page.BranchID, page.Limit)
}
