package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger/ledgertest"
)

func TestPostgresLedgerRules(t *testing.T) {
	t.Parallel()
	testLedgerRules(t, func(t *testing.T) Store { return openLedger(t, ledgertest.PostgresURL(t)) })
}

func TestPostgresLedgerProperties(t *testing.T) {
	t.Parallel()
	where := ledgertest.PostgresURL(t)
	db := ledgertest.OpenPostgres(t, where)
	testLedgerProperties(t, func() string {
		if _, err := db.Exec(`DROP TABLE IF EXISTS ledger_entries, ledger_deliveries, ledger_owner, ledger_schema`); err != nil {
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
			ledger, err := Open(context.Background(), where)
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

// TestPostgresLedgerDatabaseRefuses bypasses the code and its lock: the database
// itself does not let anyone cook the books.
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

func TestPostgresRefundAgainstDelivery(t *testing.T) {
	t.Parallel()
	where := ledgertest.PostgresURL(t)
	testRefundAgainstDelivery(t, openLedger(t, where), openLedger(t, where))
}

// TestPostgresRefundAgainstDeliveryAroundTheLock: two transactions that do not know
// of the ledger's lock refund and deliver the same order at the same time. The
// database itself lets only one of them through.
func TestPostgresRefundAgainstDeliveryAroundTheLock(t *testing.T) {
	t.Parallel()
	where := ledgertest.PostgresURL(t)
	ledger := openLedger(t, where)
	db := ledgertest.OpenPostgres(t, where)
	if _, err := ledger.Charge(context.Background(), coffee.Charge{OrderID: "1", RunID: "run", Amount: 525}); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 2)
	for _, statement := range []string{
		`INSERT INTO ledger_entries (order_id, kind, amount_cents, run_id, recorded_at) VALUES ('1', 'refund', 525, 'run', now())`,
		`INSERT INTO ledger_deliveries (order_id, run_id, recorded_at) VALUES ('1', 'run', now())`,
	} {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := tx.Exec(statement)
			failed <- errors.Join(err, tx.Commit())
		}()
	}
	if first, second := <-failed, <-failed; (first == nil) == (second == nil) {
		t.Errorf("got %v and %v; want one failure", first, second)
	}
}

// TestPostgresOpenExistingLedger: a schema without a ledger is left as it is.
func TestPostgresOpenExistingLedger(t *testing.T) {
	t.Parallel()
	where := ledgertest.PostgresURL(t)
	if _, err := OpenExisting(context.Background(), where); !errors.Is(err, ErrNoLedger) {
		t.Errorf("got %v", err)
	}
	openLedger(t, where)
	ledger, err := OpenExisting(context.Background(), where)
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.Close(); err != nil {
		t.Error(err)
	}
}

// TestPostgresCommitsAreSynchronous: whatever the role or the database says, a
// commit of the ledger waits for the disk.
func TestPostgresCommitsAreSynchronous(t *testing.T) {
	t.Parallel()
	for lowered, want := range map[string]string{"off": "on", "local": "on", "on": "on", "remote_write": "remote_write", "remote_apply": "remote_apply"} {
		t.Run(lowered, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			where := ledgertest.PostgresURL(t)
			u, err := url.Parse(where)
			if err != nil {
				t.Fatal(err)
			}
			query := u.Query()
			query.Set("synchronous_commit", lowered) // as ALTER ROLE and ALTER DATABASE set it: at the beginning of a session
			u.RawQuery = query.Encode()
			ledger := openLedger(t, u.String()).(*sqlLedger)
			for _, do := range []func() error{
				func() error {
					_, err := ledger.Charge(ctx, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525})
					return err
				},
				func() error { _, err := ledger.Refund(ctx, "2", "run"); return err },
				func() error { return ledger.Deliver(ctx, "1") },
			} {
				if err := do(); err != nil {
					t.Error(err)
				}
			}
			err = ledger.write(ctx, "1", func(tx *sql.Tx, _ account) error {
				var got string
				if err := tx.QueryRowContext(ctx, `SHOW synchronous_commit`).Scan(&got); err != nil || got != want {
					t.Errorf("a transaction commits with %s, %v; want %s", got, err, want)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPostgresBehindAPooler: PgBouncer in transaction mode gives each transaction a
// different connection to the server, and takes no settings with a connection.
func TestPostgresBehindAPooler(t *testing.T) {
	t.Parallel()
	where := ledgertest.PoolerURL(t)
	ctx := context.Background()
	one, other := openLedger(t, where), openLedger(t, where)
	var wg sync.WaitGroup
	for i := range 200 {
		ledger := []Store{one, other}[i%2]
		wg.Go(func() {
			id := fmt.Sprintf("%s-%d", t.Name(), i/4)
			_, charge := ledger.Charge(ctx, coffee.Charge{OrderID: id, RunID: "run", Amount: 525})
			if charge != nil && !errors.Is(charge, coffee.ErrSettled) {
				t.Error("charge:", charge)
			}
			if i%3 == 0 {
				if _, err := ledger.Refund(ctx, id, "run"); err != nil && !errors.Is(err, coffee.ErrDelivered) {
					t.Error("refund:", err)
				}
			} else if err := ledger.Deliver(ctx, id); err != nil && !coffee.IsRefusal(err) {
				t.Error("delivery:", err)
			}
			if _, err := ledger.Entries(ctx, id); err != nil {
				t.Error("entries:", err)
			}
		})
	}
	wg.Wait()
	if balance, err := one.Balance(ctx); err != nil || balance.Charges == 0 || balance.Refunds == 0 {
		t.Errorf("got %+v, %v", balance, err)
	}
}

func TestPostgresCannotBeReached(t *testing.T) {
	t.Parallel()
	for _, where := range []string{
		"postgres://barista:secret@127.0.0.1:1/coffee",
		"postgres://barista:secret@127.0.0.1:port/coffee",
		"postgres://barista:secret@127.0.0.1/coffee?sslmode=nonsense",
	} {
		_, err := Open(context.Background(), where)
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "cannot open the ledger") {
			t.Errorf("%s: got %v", where, err)
		}
	}
}
