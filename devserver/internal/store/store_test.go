package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"testing"

	"github.com/google/uuid"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/schema/sqlite"

	"example.com/coffee/devserver/internal/store/storetest"
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

// TestAgainstTemporal calls random methods on our tables and on those of
// Temporal's plugin, and compares the results.
func TestAgainstTemporal(t *testing.T) {
	t.Parallel()
	theirs := storetest.OpenTemporal(t, "test-"+uuid.NewString(), map[string]string{"mode": "memory", "cache": "shared"})
	storetest.Compare(t, openInMemory(t), theirs)
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
