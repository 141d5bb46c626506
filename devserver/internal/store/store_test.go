package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/schema/sqlite"
)

// schemaWriter implements what setting up a schema needs of [sqlplugin.AdminDB].
type schemaWriter struct {
	sqlplugin.AdminDB
	tx *sql.Tx
}

func (w schemaWriter) Exec(statement string, args ...any) error {
	_, err := w.tx.Exec(statement, args...)
	return err
}

func openInMemory(t *testing.T) *DB {
	t.Helper()
	db, err := Open(context.Background(), "test-"+uuid.NewString(), "file:test?mode=memory&_time_format=sqlite", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	if err := db.Setup(context.Background(), func(tx *sql.Tx) error { return sqlite.SetupSchemaOnDB(schemaWriter{tx: tx}) }); err != nil {
		t.Fatal(err)
	}
	return db
}

// TestStatementsAreFew checks that statements are prepared once each, whatever
// their arguments.
func TestStatementsAreFew(t *testing.T) {
	t.Parallel()
	db := openInMemory(t)
	ctx := context.Background()
	for i := range 100 {
		row := sqlplugin.TransferTasksRow{ShardID: 1, TaskID: int64(i), Data: []byte("x"), DataEncoding: "proto3"}
		if _, err := db.InsertIntoTransferTasks(ctx, []sqlplugin.TransferTasksRow{row}); err != nil {
			t.Fatal(err)
		}
	}
	if got := slices.Collect(maps.Keys(db.conn.statements)); len(got) != 1 {
		t.Errorf("there are %d statements: %q", len(got), got)
	}
}

// TestPlans checks that the statements that the plugin has written differently fit it still: no
// limit is a bare parameter, and a range of tasks is one of an index.
func TestPlans(t *testing.T) {
	t.Parallel()
	db := openInMemory(t)
	ctx := context.Background()
	if _, err := db.RangeSelectFromTransferTasks(ctx, sqlplugin.TransferTasksRangeFilter{PageSize: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.RangeSelectFromTimerTasks(ctx, sqlplugin.TimerTasksRangeFilter{PageSize: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.RangeSelectFromHistoryScheduledTasks(ctx, sqlplugin.HistoryScheduledTasksRangeFilter{PageSize: 1}); err != nil {
		t.Fatal(err)
	}
	for _, statement := range db.conn.statements {
		var plan []struct {
			ID, Parent, Notused int
			Detail              string
		}
		query := statement.QueryString
		args := make([]any, strings.Count(query, "?"))
		if err := db.conn.conn.SelectContext(ctx, &plan, "EXPLAIN QUERY PLAN "+query, args...); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(query, "LIMIT ? + 0") {
			t.Error("a limit is a parameter:", query)
		}
		if strings.Contains(query, "visibility_timestamp") && !(len(plan) == 1 && strings.Contains(plan[0].Detail, "(visibility_timestamp,task_id)>(?,?)")) {
			t.Errorf("%s: %+v", query, plan)
		}
	}
}

// TestStatementsAreBounded checks that statements of which there can be any number are not
// all kept.
func TestStatementsAreBounded(t *testing.T) {
	t.Parallel()
	db := openInMemory(t)
	for n := range maxStatements + 10 {
		if _, err := db.DeleteFromTimerInfoMaps(context.Background(), sqlplugin.TimerInfoMapsFilter{TimerIDs: make([]string, n+1)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(db.conn.statements); n > maxStatements {
		t.Errorf("%d statements are kept", n)
	}
}

// TestBeginTxWaits checks that BeginTx waits for the connection no longer than its
// context allows.
func TestBeginTxWaits(t *testing.T) {
	t.Parallel()
	db := openInMemory(t)
	tx, err := db.BeginTx(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := db.BeginTx(ctx); err == nil {
		t.Error("two transactions have the connection")
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	tx, err = db.BeginTx(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
}
