package store

import (
	"context"
	"database/sql"
	"errors"

	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// The tables of the matching service: task queues, tasks that no poller was
// waiting for, and what is known about a queue's workers. Queues and tasks are in
// tables of the first version or, if the queue is a fair one, of the second.

const (
	ofQueue         = ` WHERE range_hash = ? AND task_queue_id = ?`
	taskQueueFields = `range_hash, task_queue_id, range_id, data, data_encoding`
)

func taskQueues(v sqlplugin.MatchingTaskVersion) string {
	if v == sqlplugin.MatchingTaskVersion1 {
		return `task_queues`
	}
	return `task_queues_v2`
}

// InsertIntoTaskQueues implements [sqlplugin.MatchingTaskQueue].
func (t tables) InsertIntoTaskQueues(ctx context.Context, row *sqlplugin.TaskQueuesRow, v sqlplugin.MatchingTaskVersion) (sql.Result, error) {
	return t.run.exec(ctx, `INSERT INTO `+taskQueues(v)+` (`+taskQueueFields+`) VALUES (?, ?, ?, ?, ?)`,
		row.RangeHash, row.TaskQueueID, row.RangeID, row.Data, row.DataEncoding)
}

// UpdateTaskQueues implements [sqlplugin.MatchingTaskQueue].
func (t tables) UpdateTaskQueues(ctx context.Context, row *sqlplugin.TaskQueuesRow, v sqlplugin.MatchingTaskVersion) (sql.Result, error) {
	return t.run.exec(ctx, `UPDATE `+taskQueues(v)+` SET range_id = ?, data = ?, data_encoding = ?`+ofQueue,
		row.RangeID, row.Data, row.DataEncoding, row.RangeHash, row.TaskQueueID)
}

// SelectFromTaskQueues implements [sqlplugin.MatchingTaskQueue].
func (t tables) SelectFromTaskQueues(ctx context.Context, f sqlplugin.TaskQueuesFilter, v sqlplugin.MatchingTaskVersion) ([]sqlplugin.TaskQueuesRow, error) {
	query := `SELECT ` + taskQueueFields + ` FROM ` + taskQueues(v)
	const after = ` AND task_queue_id > ? ORDER BY task_queue_id LIMIT ? + 0`
	switch {
	case f.TaskQueueID != nil && (f.RangeHashLessThanEqualTo != 0 || f.RangeHashGreaterThanEqualTo != 0):
		return nil, errors.New("task queues: one of them, or those of a range")
	case f.TaskQueueID != nil:
		row, err := one[sqlplugin.TaskQueuesRow](ctx, t, query+ofQueue, f.RangeHash, f.TaskQueueID)
		if err != nil {
			return nil, err
		}
		return []sqlplugin.TaskQueuesRow{*row}, nil
	case f.PageSize == nil:
		return nil, errors.New("task queues: a list needs a page size")
	case f.RangeHashLessThanEqualTo != 0:
		if f.RangeHashLessThanEqualTo < f.RangeHashGreaterThanEqualTo {
			return nil, errors.New("task queues: the range ends before it begins")
		}
		return list[sqlplugin.TaskQueuesRow](ctx, t, query+` WHERE range_hash >= ? AND range_hash <= ?`+after, nil,
			f.RangeHashGreaterThanEqualTo, f.RangeHashLessThanEqualTo, f.TaskQueueIDGreaterThan, *f.PageSize)
	case f.TaskQueueIDGreaterThan != nil:
		return list[sqlplugin.TaskQueuesRow](ctx, t, query+` WHERE range_hash = ?`+after, nil, f.RangeHash, f.TaskQueueIDGreaterThan, *f.PageSize)
	}
	return nil, errors.New("task queues: a list begins after one of them")
}

// DeleteFromTaskQueues implements [sqlplugin.MatchingTaskQueue].
func (t tables) DeleteFromTaskQueues(ctx context.Context, f sqlplugin.TaskQueuesFilter, v sqlplugin.MatchingTaskVersion) (sql.Result, error) {
	return t.run.exec(ctx, `DELETE FROM `+taskQueues(v)+ofQueue+` AND range_id = ?`, f.RangeHash, f.TaskQueueID, f.RangeID)
}

// LockTaskQueues implements [sqlplugin.MatchingTaskQueue].
func (t tables) LockTaskQueues(ctx context.Context, f sqlplugin.TaskQueuesFilter, v sqlplugin.MatchingTaskVersion) (rangeID int64, err error) {
	err = t.run.get(ctx, &rangeID, `SELECT range_id FROM `+taskQueues(v)+ofQueue, f.RangeHash, f.TaskQueueID)
	return rangeID, err
}

// InsertIntoTasks implements [sqlplugin.MatchingTask].
func (t tables) InsertIntoTasks(ctx context.Context, rows []sqlplugin.TasksRow) (sql.Result, error) {
	return each(ctx, t, `INSERT INTO tasks (range_hash, task_queue_id, task_id, data, data_encoding) VALUES (?, ?, ?, ?, ?)`, rows,
		func(row *sqlplugin.TasksRow) []any {
			return []any{row.RangeHash, row.TaskQueueID, row.TaskID, row.Data, row.DataEncoding}
		})
}

// SelectFromTasks implements [sqlplugin.MatchingTask].
func (t tables) SelectFromTasks(ctx context.Context, f sqlplugin.TasksFilter) ([]sqlplugin.TasksRow, error) {
	if f.InclusiveMinTaskID == nil || f.ExclusiveMaxTaskID == nil {
		return nil, errors.New("tasks: a range has two ends")
	}
	return list[sqlplugin.TasksRow](ctx, t, `SELECT task_id, data, data_encoding FROM tasks`+ofQueue+` AND task_id >= ? AND task_id < ? ORDER BY task_id LIMIT ? + 0`, nil,
		f.RangeHash, f.TaskQueueID, *f.InclusiveMinTaskID, *f.ExclusiveMaxTaskID, f.PageSize)
}

// DeleteFromTasks implements [sqlplugin.MatchingTask].
func (t tables) DeleteFromTasks(ctx context.Context, f sqlplugin.TasksFilter) (sql.Result, error) {
	if f.ExclusiveMaxTaskID == nil || f.Limit == nil || *f.Limit == 0 {
		return nil, errors.New("tasks: to delete needs an end and a limit")
	}
	return t.run.exec(ctx, `DELETE FROM tasks`+ofQueue+` AND task_id IN (SELECT task_id FROM tasks`+ofQueue+` AND task_id < ? ORDER BY task_id LIMIT ? + 0)`,
		f.RangeHash, f.TaskQueueID, f.RangeHash, f.TaskQueueID, *f.ExclusiveMaxTaskID, *f.Limit)
}

// InsertIntoTasksV2 implements [sqlplugin.MatchingTaskV2].
func (t tables) InsertIntoTasksV2(ctx context.Context, rows []sqlplugin.TasksRowV2) (sql.Result, error) {
	return each(ctx, t, `INSERT INTO tasks_v2 (range_hash, task_queue_id, pass, task_id, data, data_encoding) VALUES (?, ?, ?, ?, ?, ?)`, rows,
		func(row *sqlplugin.TasksRowV2) []any {
			return []any{row.RangeHash, row.TaskQueueID, row.TaskPass, row.TaskID, row.Data, row.DataEncoding}
		})
}

// SelectFromTasksV2 implements [sqlplugin.MatchingTaskV2].
func (t tables) SelectFromTasksV2(ctx context.Context, f sqlplugin.TasksFilterV2) ([]sqlplugin.TasksRowV2, error) {
	if f.InclusiveMinLevel == nil {
		return nil, errors.New("tasks: a list needs a beginning")
	}
	limit := -1 // none
	if f.PageSize != nil {
		limit = *f.PageSize
	}
	return list[sqlplugin.TasksRowV2](ctx, t, `SELECT task_id, data, data_encoding FROM tasks_v2`+ofQueue+` AND (pass, task_id) >= (?, ?) ORDER BY pass, task_id LIMIT ? + 0`, nil,
		f.RangeHash, f.TaskQueueID, f.InclusiveMinLevel.TaskPass, f.InclusiveMinLevel.TaskID, limit)
}

// DeleteFromTasksV2 implements [sqlplugin.MatchingTaskV2].
func (t tables) DeleteFromTasksV2(ctx context.Context, f sqlplugin.TasksFilterV2) (sql.Result, error) {
	if f.ExclusiveMaxLevel == nil || f.Limit == nil || *f.Limit == 0 {
		return nil, errors.New("tasks: to delete needs an end and a limit")
	}
	return t.run.exec(ctx, `DELETE FROM tasks_v2`+ofQueue+` AND task_id IN (SELECT task_id FROM tasks_v2`+ofQueue+` AND (pass, task_id) < (?, ?) ORDER BY pass, task_id LIMIT ? + 0)`,
		f.RangeHash, f.TaskQueueID, f.RangeHash, f.TaskQueueID, f.ExclusiveMaxLevel.TaskPass, f.ExclusiveMaxLevel.TaskID, *f.Limit)
}

// GetTaskQueueUserData implements [sqlplugin.MatchingTaskQueueUserData].
func (t tables) GetTaskQueueUserData(ctx context.Context, request *sqlplugin.GetTaskQueueUserDataRequest) (*sqlplugin.VersionedBlob, error) {
	return one[sqlplugin.VersionedBlob](ctx, t, `SELECT data, data_encoding, version FROM task_queue_user_data WHERE namespace_id = ? AND task_queue_name = ?`,
		request.NamespaceID, request.TaskQueueName)
}

// UpdateTaskQueueUserData implements [sqlplugin.MatchingTaskQueueUserData]. A new
// row has version 0.
func (t tables) UpdateTaskQueueUserData(ctx context.Context, request *sqlplugin.UpdateTaskQueueDataRequest) error {
	if request.Version == 0 {
		_, err := t.run.exec(ctx, `INSERT INTO task_queue_user_data (namespace_id, task_queue_name, data, data_encoding, version) VALUES (?, ?, ?, ?, 1)`,
			request.NamespaceID, request.TaskQueueName, request.Data, request.DataEncoding)
		return err
	}
	result, err := t.run.exec(ctx, `UPDATE task_queue_user_data SET data = ?, data_encoding = ?, version = ? WHERE namespace_id = ? AND task_queue_name = ? AND version = ?`,
		request.Data, request.DataEncoding, request.Version+1, request.NamespaceID, request.TaskQueueName, request.Version)
	if err != nil {
		return err
	}
	updated, err := result.RowsAffected()
	if err == nil && updated != 1 {
		err = &persistence.ConditionFailedError{Msg: "the task queue's user data is of another version"}
	}
	return err
}

// ListTaskQueueUserDataEntries implements [sqlplugin.MatchingTaskQueueUserData].
func (t tables) ListTaskQueueUserDataEntries(ctx context.Context, request *sqlplugin.ListTaskQueueUserDataEntriesRequest) ([]sqlplugin.TaskQueueUserDataEntry, error) {
	return list[sqlplugin.TaskQueueUserDataEntry](ctx, t,
		`SELECT task_queue_name, data, data_encoding, version FROM task_queue_user_data WHERE namespace_id = ? AND task_queue_name > ? ORDER BY task_queue_name LIMIT ? + 0`, nil,
		request.NamespaceID, request.LastTaskQueueName, request.Limit)
}

// AddToBuildIdToTaskQueueMapping implements [sqlplugin.MatchingTaskQueueUserData].
func (t tables) AddToBuildIdToTaskQueueMapping(ctx context.Context, request sqlplugin.AddToBuildIdToTaskQueueMapping) error {
	_, err := each(ctx, t, `INSERT INTO build_id_to_task_queue (namespace_id, build_id, task_queue_name) VALUES (?, ?, ?)`, request.BuildIds,
		func(id *string) []any { return []any{request.NamespaceID, *id, request.TaskQueueName} })
	return err
}

// RemoveFromBuildIdToTaskQueueMapping implements [sqlplugin.MatchingTaskQueueUserData].
func (t tables) RemoveFromBuildIdToTaskQueueMapping(ctx context.Context, request sqlplugin.RemoveFromBuildIdToTaskQueueMapping) error {
	_, err := each(ctx, t, `DELETE FROM build_id_to_task_queue WHERE namespace_id = ? AND build_id = ? AND task_queue_name = ?`, request.BuildIds,
		func(id *string) []any { return []any{request.NamespaceID, *id, request.TaskQueueName} })
	return err
}

// GetTaskQueuesByBuildId implements [sqlplugin.MatchingTaskQueueUserData].
func (t tables) GetTaskQueuesByBuildId(ctx context.Context, request *sqlplugin.GetTaskQueuesByBuildIdRequest) ([]string, error) {
	return list[string](ctx, t, `SELECT task_queue_name FROM build_id_to_task_queue WHERE namespace_id = ? AND build_id = ?`, nil, request.NamespaceID, request.BuildID)
}

// CountTaskQueuesByBuildId implements [sqlplugin.MatchingTaskQueueUserData].
func (t tables) CountTaskQueuesByBuildId(ctx context.Context, request *sqlplugin.CountTaskQueuesByBuildIdRequest) (count int, err error) {
	err = t.run.get(ctx, &count, `SELECT count(*) FROM build_id_to_task_queue WHERE namespace_id = ? AND build_id = ?`, request.NamespaceID, request.BuildID)
	return count, err
}
