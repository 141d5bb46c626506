package coffee

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"

	"example.com/coffee/coffee/ledgertest"
)

func TestPostgresLedgerRules(t *testing.T) {
	t.Parallel()
	testLedgerRules(t, func(t *testing.T) Ledger { return openLedger(t, ledgertest.PostgresURL(t)) })
}

func TestPostgresLedgerProperties(t *testing.T) {
	t.Parallel()
	where := ledgertest.PostgresURL(t)
	db := ledgertest.OpenPostgres(t, where)
	testLedgerProperties(t, func() string {
		if _, err := db.Exec(`DROP TABLE IF EXISTS ledger_entries; DROP FUNCTION IF EXISTS ledger_entries_refuse`); err != nil {
			t.Fatal(err)
		}
		return where
	})
}

func TestPostgresLedgerConcurrency(t *testing.T) {
	t.Parallel()
	where := ledgertest.PostgresURL(t)
	testLedgerConcurrency(t, openLedger(t, where), openLedger(t, where))
}

// TestPostgresLedgerIsCreatedOnce: workers that start at the same time all find
// the table.
func TestPostgresLedgerIsCreatedOnce(t *testing.T) {
	t.Parallel()
	where := ledgertest.PostgresURL(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			ledger, err := OpenLedger(context.Background(), where)
			if err != nil {
				t.Error(err)
				return
			}
			if err := ledger.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestPostgresLedgerDatabaseRefuses goes around the code, and around its lock:
// even then the database does not let anybody cook the books.
func TestPostgresLedgerDatabaseRefuses(t *testing.T) {
	t.Parallel()
	where := ledgertest.PostgresURL(t)
	testLedgerDatabaseRefuses(t, openLedger(t, where), ledgertest.OpenPostgres(t, where),
		`TRUNCATE ledger_entries`,
		`UPDATE ledger_entries SET amount_cents = 1 WHERE false`,
		`INSERT INTO ledger_entries (order_id, kind, amount_cents, run_id, recorded_at) VALUES ('charged', 'charge', 1, 'run', now())
		 ON CONFLICT (order_id, kind) DO UPDATE SET amount_cents = 1`,
	)
}

// TestPostgresRaceAroundTheLock: two transactions that do not know of the lock
// charge and void the same order at the same time. One of them fails.
func TestPostgresRaceAroundTheLock(t *testing.T) {
	t.Parallel()
	where := ledgertest.PostgresURL(t)
	ledger := openLedger(t, where)
	db := ledgertest.OpenPostgres(t, where)
	begin := func(kind string, amount int) (*sql.Tx, func() error) {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		return tx, func() error {
			_, err := tx.Exec(`INSERT INTO ledger_entries (order_id, kind, amount_cents, run_id, recorded_at) VALUES ('1', $1, $2, 'run', now())`, kind, amount)
			return errors.Join(err, tx.Commit())
		}
	}
	_, charge := begin("charge", 525)
	_, void := begin("void", 0)
	failed := make(chan error, 2)
	go func() { failed <- charge() }()
	go func() { failed <- void() }()
	if first, second := <-failed, <-failed; (first == nil) == (second == nil) {
		t.Errorf("got %v and %v; want one failure", first, second)
	}
	if entries, err := ledger.Entries(context.Background(), "1"); err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v", entries, err)
	}
}

func TestPostgresCannotBeReached(t *testing.T) {
	t.Parallel()
	for _, where := range []string{
		"postgres://barista:secret@127.0.0.1:1/coffee",
		"postgres://barista:secret@127.0.0.1:port/coffee",
		"postgres://barista:secret@127.0.0.1/coffee?sslmode=nonsense",
	} {
		_, err := OpenLedger(context.Background(), where)
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "cannot open the ledger") {
			t.Errorf("%s: got %v", where, err)
		}
	}
}
