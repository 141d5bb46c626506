package store

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// visibility is the table that lists of workflows are read from.
type visibility struct {
	conn    *conn
	queries *sqlx.DB // for users' queries; nil if they use conn
}

var _ sqlplugin.Visibility = visibility{}

var (
	visibilityColumns = strings.Join(sqlplugin.DbFields, ", ")
	visibilityValues  = strings.TrimSuffix(strings.Repeat("?, ", len(sqlplugin.DbFields)), ", ")

	insertVisibility = `INSERT INTO executions_visibility (` + visibilityColumns + `) VALUES (` + visibilityValues + `) ON CONFLICT (namespace_id, run_id) DO NOTHING`
	// A late write does not undo a newer one.
	upsertVisibility = `INSERT INTO executions_visibility (` + visibilityColumns + `) VALUES (` + visibilityValues + `) ON CONFLICT (namespace_id, run_id) DO UPDATE SET ` +
		`(` + visibilityColumns + `) = (excluded.` + strings.Join(sqlplugin.DbFields, ", excluded.") + `) ` +
		`WHERE executions_visibility.` + sqlplugin.VersionColumnName + ` < excluded.` + sqlplugin.VersionColumnName
	selectVisibility = `SELECT ` + visibilityColumns + ` FROM executions_visibility WHERE namespace_id = ? AND run_id = ?`
	deleteVisibility = `DELETE FROM executions_visibility WHERE namespace_id = ? AND run_id = ?`
)

// listSeparator separates the elements of a list of keywords, in the column and
// in its full-text index.
const listSeparator = "♡"

// visibilityArgs returns a row's values in the order of [sqlplugin.DbFields],
// which is the order of the row's fields.
func visibilityArgs(row *sqlplugin.VisibilityRow) []any {
	var closed *time.Time
	if row.CloseTime != nil {
		closed = new(timestamp(*row.CloseTime))
	}
	attributes := row.SearchAttributes
	if attributes != nil {
		stored := sqlplugin.VisibilitySearchAttributes{}
		for name, value := range *attributes {
			switch value := value.(type) {
			case []string:
				stored[name] = strings.Join(value, listSeparator)
			case time.Time:
				stored[name] = value.Format(time.RFC3339Nano)
			default:
				stored[name] = value
			}
		}
		attributes = &stored
	}
	return []any{row.NamespaceID, row.RunID, row.WorkflowTypeName, row.WorkflowID, timestamp(row.StartTime), timestamp(row.ExecutionTime), row.Status, closed,
		row.HistoryLength, row.HistorySizeBytes, row.ExecutionDuration, row.StateTransitionCount, row.Memo, row.Encoding, row.TaskQueue, attributes,
		row.ParentWorkflowID, row.ParentRunID, row.RootWorkflowID, row.RootRunID, row.Version}
}

func fromTable(row *sqlplugin.VisibilityRow) {
	row.StartTime, row.ExecutionTime = fromTimestamp(row.StartTime), fromTimestamp(row.ExecutionTime)
	if row.CloseTime != nil {
		row.CloseTime = new(fromTimestamp(*row.CloseTime))
	}
	if row.SearchAttributes == nil {
		return
	}
	for name, value := range *row.SearchAttributes {
		if text, ok := value.(string); ok && strings.Contains(text, listSeparator) {
			(*row.SearchAttributes)[name] = strings.Split(text, listSeparator)
		}
	}
}

// InsertIntoVisibility implements [sqlplugin.Visibility].
func (v visibility) InsertIntoVisibility(ctx context.Context, row *sqlplugin.VisibilityRow) (sql.Result, error) {
	return autocommit{v.conn}.exec(ctx, insertVisibility, visibilityArgs(row)...)
}

// ReplaceIntoVisibility implements [sqlplugin.Visibility].
func (v visibility) ReplaceIntoVisibility(ctx context.Context, row *sqlplugin.VisibilityRow) (sql.Result, error) {
	return autocommit{v.conn}.exec(ctx, upsertVisibility, visibilityArgs(row)...)
}

// DeleteFromVisibility implements [sqlplugin.Visibility].
func (v visibility) DeleteFromVisibility(ctx context.Context, f sqlplugin.VisibilityDeleteFilter) (sql.Result, error) {
	return autocommit{v.conn}.exec(ctx, deleteVisibility, f.NamespaceID, f.RunID)
}

// GetFromVisibility implements [sqlplugin.Visibility].
func (v visibility) GetFromVisibility(ctx context.Context, f sqlplugin.VisibilityGetFilter) (*sqlplugin.VisibilityRow, error) {
	var row sqlplugin.VisibilityRow
	if err := (autocommit{v.conn}).get(ctx, &row, selectVisibility, f.NamespaceID, f.RunID); err != nil {
		return nil, err
	}
	fromTable(&row)
	return &row, nil
}

// The methods below run users' queries. These are not kept as prepared statements,
// and they end with the request because they can take long.

// query calls run with the connection for users' queries.
func (v visibility) query(ctx context.Context, run func(sqlx.QueryerContext) error) error {
	if v.queries != nil {
		return run(v.queries)
	}
	release, err := v.conn.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	return run(v.conn.conn)
}

// SelectFromVisibility implements [sqlplugin.Visibility].
func (v visibility) SelectFromVisibility(ctx context.Context, f sqlplugin.VisibilitySelectFilter) (rows []sqlplugin.VisibilityRow, err error) {
	err = v.query(ctx, func(on sqlx.QueryerContext) error { return sqlx.SelectContext(ctx, on, &rows, f.Query, f.QueryArgs...) })
	for i := range rows {
		fromTable(&rows[i])
	}
	return rows, err
}

// CountFromVisibility implements [sqlplugin.Visibility].
func (v visibility) CountFromVisibility(ctx context.Context, f sqlplugin.VisibilitySelectFilter) (count int64, err error) {
	err = v.query(ctx, func(on sqlx.QueryerContext) error { return sqlx.GetContext(ctx, on, &count, f.Query, f.QueryArgs...) })
	return count, err
}

// CountGroupByFromVisibility implements [sqlplugin.Visibility].
func (v visibility) CountGroupByFromVisibility(ctx context.Context, f sqlplugin.VisibilitySelectFilter) (counts []sqlplugin.VisibilityCountRow, err error) {
	err = v.query(ctx, func(on sqlx.QueryerContext) error {
		rows, err := on.QueryContext(ctx, f.Query, f.QueryArgs...)
		if err != nil {
			return err
		}
		defer rows.Close()
		counts, err = sqlplugin.ParseCountGroupByRows(rows, f.GroupBy)
		return err
	})
	return counts, err
}
