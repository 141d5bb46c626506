package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"example.com/coffee/coffee"
)

// TestIdentity: a ledger has an id of its own, and keeps it and its owner when it is opened
// again.
func TestIdentity(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "ledger.db")
	first := openLedger(t, path)
	mine, others := Owner{NamespaceID: "a", Namespace: "default"}, Owner{NamespaceID: "b", Namespace: "default"}
	if err := first.Bind(ctx, mine); err != nil {
		t.Fatal(err)
	}
	again := openLedger(t, path)
	one, other := memoryLedger(t), memoryLedger(t)
	if first.ID() == "" || again.ID() != first.ID() || one.ID() == other.ID() {
		t.Errorf("got %q and %q", first.ID(), again.ID())
	}
	if err := again.Bind(ctx, mine); err != nil {
		t.Error(err)
	}
	if err := again.Bind(ctx, others); !errors.Is(err, ErrForeignLedger) || coffee.IsRefusal(err) {
		t.Errorf("got %v", err)
	}
}

func TestOneIdentity(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	ledger := openLedger(t, path)
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	testOneIdentity(t, ledger, db,
		`INSERT OR REPLACE INTO ledger_owner (one, namespace_id, namespace) VALUES (1, 'b', 'b')`,
		`INSERT OR REPLACE INTO ledger_schema (one, version, ledger_id) VALUES (1, 1, 'b')`)
}

// testOneIdentity tries statements that would change whose a ledger is, and which.
func testOneIdentity(t *testing.T, ledger Store, db *sql.DB, more ...string) {
	ctx := context.Background()
	owner := Owner{NamespaceID: "a", Namespace: "a"}
	if err := ledger.Bind(ctx, owner); err != nil {
		t.Fatal(err)
	}
	for _, statement := range append(more,
		`INSERT INTO ledger_owner (namespace_id, namespace) VALUES ('b', 'b')`,
		`INSERT INTO ledger_owner (one, namespace_id, namespace) VALUES (2, 'b', 'b')`,
		`UPDATE ledger_owner SET namespace_id = 'b'`,
		`DELETE FROM ledger_owner`,
		`INSERT INTO ledger_schema (version, ledger_id) VALUES (99, 'b')`,
		`INSERT INTO ledger_schema (one, version, ledger_id) VALUES (2, 99, 'b')`,
		`UPDATE ledger_schema SET ledger_id = 'b'`,
		`UPDATE ledger_schema SET version = 0`,
		`DELETE FROM ledger_schema`,
	) {
		if _, err := db.Exec(statement); err == nil {
			t.Errorf("the database accepted: %s", statement)
		}
	}
	if err := errors.Join(ledger.Bind(ctx, owner), ledger.Ready(ctx)); err != nil {
		t.Error(err)
	}
}

func TestBindsOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	testBindsOnce(t, openLedger(t, path), openLedger(t, path))
}

func testBindsOnce(t *testing.T, handles ...Store) {
	bound := make([]error, 8)
	var wg sync.WaitGroup
	for i := range bound {
		wg.Go(func() {
			bound[i] = handles[i%len(handles)].Bind(context.Background(), Owner{NamespaceID: fmt.Sprint(i), Namespace: "default"})
		})
	}
	wg.Wait()
	winners := 0
	for _, err := range bound {
		if err == nil {
			winners++
		} else if !errors.Is(err, ErrForeignLedger) {
			t.Error(err)
		}
	}
	if winners != 1 {
		t.Errorf("%d owners", winners)
	}
}
