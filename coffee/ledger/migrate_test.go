package ledger

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger/ledgertest"
)

// next returns the engine of a program that is one version ahead.
func next(m engine) engine {
	m.steps = append(append([]string{}, m.steps...), `ALTER TABLE ledger_entries ADD COLUMN tip_cents BIGINT NOT NULL DEFAULT 0`)
	return m
}

// TestSchemaVersion: both databases are brought to the version that is promised.
func TestSchemaVersion(t *testing.T) {
	t.Parallel()
	if len(sqliteEngine.steps) != 1 || len(postgresEngine.steps) != 1 {
		t.Errorf("%d and %d steps", len(sqliteEngine.steps), len(postgresEngine.steps))
	}
}

func TestMigrateSQLite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	testMigrate(t, path, "sqlite", "file:"+path, func(m engine) (Store, error) {
		return openSQLiteFile(context.Background(), path, true, m)
	}, sqliteEngine)
}

func TestMigratePostgres(t *testing.T) {
	t.Parallel()
	where := ledgertest.PostgresURL(t)
	testMigrate(t, where, "pgx", where, func(m engine) (Store, error) {
		return openPostgres(context.Background(), where, true, m)
	}, postgresEngine)
}

// testMigrate opens a ledger with a newer program, several times at once. The schema
// moves forward once. The older program then refuses it and writes nothing, even if it
// had opened it before.
func testMigrate(t *testing.T, where, driver, dsn string, open func(engine) (Store, error), now engine) {
	ctx := context.Background()
	older, err := open(now)
	if err != nil {
		t.Fatal(err)
	}
	defer older.Close()
	if _, err := older.Charge(ctx, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			newer, err := open(next(now))
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := newer.Charge(ctx, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525}); err != nil {
				t.Error(err)
			}
			if err := newer.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()

	want := "its schema has version 2, and this program knows version 1"
	_, charge := older.Charge(ctx, coffee.Charge{OrderID: "2", RunID: "run", Amount: 525})
	_, again := older.Charge(ctx, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525})
	_, refund := older.Refund(ctx, "1", "run")
	_, paid := older.Paid(ctx, "1")
	_, opened := open(now)
	_, existing := OpenExisting(ctx, where)
	for what, err := range map[string]error{"charge": charge, "charge again": again, "refund": refund, "paid": paid, "delivery": older.Deliver(ctx, "1"), "open": opened, "open existing": existing} {
		if !errors.Is(err, ErrNewerLedger) || coffee.IsRefusal(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s with the older program: %v", what, err)
		}
	}

	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var version, rows, entries int
	err = errors.Join(
		db.QueryRow(`SELECT max(version), count(*) FROM ledger_schema`).Scan(&version, &rows),
		db.QueryRow(`SELECT count(*) FROM ledger_entries`).Scan(&entries))
	if err != nil || version != 2 || rows != 1 || entries != 1 {
		t.Errorf("the schema has version %d in %d rows, and there are %d entries, %v", version, rows, entries, err)
	}
}

// TestMigrateFails: a step that fails leaves the schema as it was.
func TestMigrateFails(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "ledger.db")
	broken := next(next(sqliteEngine)) // adds the same column twice
	if err := openLedger(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openSQLiteFile(ctx, path, true, broken); err == nil || !strings.Contains(err.Error(), "cannot be brought from version 2 to 3") {
		t.Errorf("got %v", err)
	}
	ledger := openLedger(t, path)
	if _, err := ledger.Charge(ctx, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525}); err != nil {
		t.Error(err)
	}
}
