package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// TestTxThatIsAbandoned has a request panic in its transaction, which is then
// neither committed nor rolled back. The server has one connection, and must go
// on.
func TestTxThatIsAbandoned(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		patience, deadline time.Duration
	}{
		"until its request is over": {time.Hour, time.Millisecond},
		"of a request without end":  {time.Millisecond, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := openInMemory(t)
			db.patience = test.patience
			ctx, cancel := context.WithTimeout(context.Background(), test.deadline)
			defer cancel()
			abandoned, err := db.BeginTx(ctx)
			if err != nil {
				t.Fatal(err)
			}
			func() {
				defer func() { recover() }()
				if _, err := abandoned.InsertIntoShards(ctx, &sqlplugin.ShardsRow{ShardID: 1, Data: []byte{}}); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				panic("in a transaction")
			}()
			patient, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			db.patience = txPatience
			next, err := db.BeginTx(patient)
			if err != nil {
				t.Fatal("the connection is lost:", err)
			}
			if _, err := next.SelectFromShards(patient, sqlplugin.ShardsFilter{ShardID: 1}); err == nil {
				t.Error("what was abandoned is there")
			}
			if err := next.Commit(); err != nil {
				t.Error(err)
			}
			// Later uses of the transaction are refused.
			if _, err := abandoned.SelectFromShards(patient, sqlplugin.ShardsFilter{ShardID: 1}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a statement: %v", err)
			}
			if err := abandoned.Commit(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the commit: %v", err)
			}
			if err := abandoned.Rollback(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the rollback: %v", err)
			}
		})
	}
}

// TestWrites checks that commits are counted, and nothing else.
func TestWrites(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := openInMemory(t)
	shard := func(id int32) *sqlplugin.ShardsRow { return &sqlplugin.ShardsRow{ShardID: id, Data: []byte{}} }
	want := func(when string, want uint64) {
		t.Helper()
		if ended, underWay := db.Writes(); ended != want || underWay {
			t.Errorf("%s: got %d, %v; want %d", when, ended, underWay, want)
		}
	}
	before, _ := db.Writes()
	if _, err := db.InsertIntoShards(ctx, shard(1)); err != nil {
		t.Fatal(err)
	}
	want("a statement by itself", before+1)
	if _, err := db.SelectFromShards(ctx, sqlplugin.ShardsFilter{ShardID: 1}); err != nil {
		t.Fatal(err)
	}
	want("a query", before+1)
	for i, end := range []func(sqlplugin.Tx) error{sqlplugin.Tx.Commit, sqlplugin.Tx.Rollback} {
		tx, err := db.BeginTx(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.InsertIntoShards(ctx, shard(int32(i+2))); err != nil {
			t.Fatal(err)
		}
		want("in a transaction", before+1+uint64(i))
		if err := end(tx); err != nil {
			t.Fatal(err)
		}
	}
	want("a commit and a rollback", before+2)
}
