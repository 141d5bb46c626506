package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/coffee/coffee"
)

func memoryLedger(t testing.TB) Store {
	t.Helper()
	ledger, err := OpenMemory(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ledger.Close() })
	return ledger
}

func openLedger(t testing.TB, where string) Store {
	t.Helper()
	ledger, err := Open(context.Background(), where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ledger.Close() })
	return ledger
}

func TestLedgerRules(t *testing.T) {
	t.Parallel()
	testLedgerRules(t, func(t *testing.T) Store { return memoryLedger(t) })
}

func testLedgerRules(t *testing.T, open func(t *testing.T) Store) {
	ctx := context.Background()
	charge := func(l Store, amount coffee.Cents, run string) error {
		_, err := l.Charge(ctx, coffee.Charge{OrderID: "1", RunID: run, Amount: amount})
		return err
	}
	refund := func(l Store, run string) (coffee.EntryKind, error) {
		entry, err := l.Refund(ctx, "1", run)
		return entry.Kind, err
	}
	for name, test := range map[string]func(t *testing.T, l Store){
		"a charge is made once": func(t *testing.T, l Store) {
			first, err1 := l.Charge(ctx, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525})
			again, err2 := l.Charge(ctx, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525})
			if err := errors.Join(err1, err2); err != nil || first != again {
				t.Errorf("first %v, again %v, %v", first, again, err)
			}
		},
		"another amount is a conflict": func(t *testing.T, l Store) {
			charge(l, 525, "run")
			if err := charge(l, 524, "run"); !errors.Is(err, coffee.ErrAmountConflict) {
				t.Error(err)
			}
		},
		"another run is a duplicate": func(t *testing.T, l Store) {
			charge(l, 525, "run")
			if err := charge(l, 525, "other"); !errors.Is(err, coffee.ErrDuplicateOrder) {
				t.Error(err)
			}
		},
		"another run does not refund the first": func(t *testing.T, l Store) {
			charge(l, 525, "run")
			if _, err := refund(l, "other"); !errors.Is(err, coffee.ErrDuplicateOrder) {
				t.Error(err)
			}
			if balance, err := l.Balance(ctx); err != nil || balance.Net() != 525 {
				t.Error(balance, err)
			}
		},
		"a refund equals its charge, once": func(t *testing.T, l Store) {
			charge(l, 525, "run")
			first, err1 := l.Refund(ctx, "1", "run")
			again, err2 := l.Refund(ctx, "1", "run")
			if err := errors.Join(err1, err2); err != nil || first != again || first.Amount != 525 || first.Kind != coffee.EntryRefund {
				t.Errorf("first %v, again %v, %v", first, again, err)
			}
		},
		"no charge after a refund": func(t *testing.T, l Store) {
			charge(l, 525, "run")
			refund(l, "run")
			if err := charge(l, 525, "run"); !errors.Is(err, coffee.ErrSettled) {
				t.Error(err)
			}
		},
		"a refund of nothing leaves a void": func(t *testing.T, l Store) {
			if kind, err := refund(l, "run"); err != nil || kind != coffee.EntryVoid {
				t.Error(kind, err)
			}
			if err := charge(l, 525, "run"); !errors.Is(err, coffee.ErrSettled) {
				t.Error("a late charge:", err)
			}
			if kind, err := refund(l, "run"); err != nil || kind != coffee.EntryVoid {
				t.Error("again:", kind, err)
			}
		},
		"a coffee is handed out once, and its price kept": func(t *testing.T, l Store) {
			charge(l, 525, "run")
			for range 2 {
				if err := l.Deliver(ctx, "1"); err != nil {
					t.Error(err)
				}
			}
			if _, err := refund(l, "run"); !errors.Is(err, coffee.ErrDelivered) {
				t.Error("a refund:", err)
			}
			if _, err := refund(l, "other"); !errors.Is(err, coffee.ErrDuplicateOrder) {
				t.Error("another run's refund:", err)
			}
			if err := charge(l, 525, "run"); err != nil { // by a run that was reset
				t.Error("the charge, repeated:", err)
			}
			if delivered, err := l.Paid(ctx, "1"); !delivered || err != nil {
				t.Error(delivered, err)
			}
			if entries, err := l.Entries(ctx, "1"); err != nil || len(entries) != 1 {
				t.Error("a delivery is no money:", entries, err)
			}
		},
		"no coffee without a charge": func(t *testing.T, l Store) {
			if err := l.Deliver(ctx, "1"); !errors.Is(err, coffee.ErrNotCharged) {
				t.Error(err)
			}
			if delivered, err := l.Paid(ctx, "1"); delivered || !errors.Is(err, coffee.ErrNotCharged) {
				t.Error(delivered, err)
			}
		},
		"no coffee after a refund": func(t *testing.T, l Store) {
			charge(l, 525, "run")
			if delivered, err := l.Paid(ctx, "1"); delivered || err != nil {
				t.Error(delivered, err)
			}
			refund(l, "run")
			if err := l.Deliver(ctx, "1"); !errors.Is(err, coffee.ErrSettled) {
				t.Error(err)
			}
			if delivered, err := l.Paid(ctx, "1"); delivered || !errors.Is(err, coffee.ErrSettled) {
				t.Error(delivered, err)
			}
		},
		"no coffee after a void": func(t *testing.T, l Store) {
			refund(l, "run")
			if err := l.Deliver(ctx, "1"); !errors.Is(err, coffee.ErrSettled) {
				t.Error(err)
			}
		},
		"nonsense is refused": func(t *testing.T, l Store) {
			for _, bad := range []coffee.Charge{{RunID: "run", Amount: 1}, {OrderID: "1", Amount: 1}, {OrderID: "1", RunID: "run"}, {OrderID: "1", RunID: "run", Amount: -1}} {
				if _, err := l.Charge(ctx, bad); !errors.Is(err, coffee.ErrInvalidEntry) {
					t.Error(bad, err)
				}
			}
			if _, err := l.Refund(ctx, "", "run"); !errors.Is(err, coffee.ErrInvalidEntry) {
				t.Error(err)
			}
			if _, err := l.Refund(ctx, "1", ""); !errors.Is(err, coffee.ErrInvalidEntry) {
				t.Error(err)
			}
			if err := l.Deliver(ctx, ""); !errors.Is(err, coffee.ErrInvalidEntry) {
				t.Error(err)
			}
			if _, err := l.Paid(ctx, ""); !errors.Is(err, coffee.ErrInvalidEntry) {
				t.Error(err)
			}
			if entries, err := l.Entries(ctx, "1"); err != nil || len(entries) != 0 {
				t.Error(entries, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// TestLedgerDatabaseRefuses bypasses the code: the database itself does not let
// anyone cook the books.
func TestLedgerDatabaseRefuses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	ledger := openLedger(t, path)
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	testLedgerDatabaseRefuses(t, ledger, db,
		`INSERT OR REPLACE INTO ledger_entries VALUES ('charged', 'charge', 1, 'run', '')`,
		`INSERT OR REPLACE INTO ledger_entries VALUES ('refunded', 'refund', 525, 'run', '')`,
		`INSERT OR REPLACE INTO ledger_entries VALUES ('voided', 'void', 0, 'other', '')`,
		`INSERT OR REPLACE INTO ledger_deliveries VALUES ('delivered', 'run', '')`,
	)
}

// testLedgerDatabaseRefuses tries statements that every database must refuse, and
// some more that are specific to the engine.
func testLedgerDatabaseRefuses(t *testing.T, ledger Store, db *sql.DB, more ...string) {
	ctx := context.Background()
	for _, id := range []string{"charged", "refunded", "delivered"} {
		if _, err := ledger.Charge(ctx, coffee.Charge{OrderID: id, RunID: "run", Amount: 525}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"refunded", "voided"} {
		if _, err := ledger.Refund(ctx, id, "run"); err != nil {
			t.Fatal(err)
		}
	}
	if err := ledger.Deliver(ctx, "delivered"); err != nil {
		t.Fatal(err)
	}
	const now = `'2026-11-23T12:00:00Z'`
	insert := `INSERT INTO ledger_entries (order_id, kind, amount_cents, run_id, recorded_at) VALUES `
	for _, statement := range append(more,
		`UPDATE ledger_entries SET amount_cents = 1 WHERE order_id = 'charged'`,
		`DELETE FROM ledger_entries WHERE order_id = 'charged'`,
		insert+`('charged', 'charge', 525, 'run', `+now+`)`,
		insert+`('charged', 'refund', 524, 'run', `+now+`)`,
		insert+`('charged', 'refund', 525, 'other', `+now+`)`,
		insert+`('charged', 'void', 0, 'run', `+now+`)`,
		insert+`('refunded', 'refund', 525, 'run', `+now+`)`,
		insert+`('voided', 'charge', 525, 'run', `+now+`)`,
		insert+`('new', 'refund', 525, 'run', `+now+`)`,
		insert+`('new', 'charge', 0, 'run', `+now+`)`,
		insert+`('new', 'charge', -525, 'run', `+now+`)`,
		insert+`('new', 'void', 1, 'run', `+now+`)`,
		insert+`('new', 'gift', 1, 'run', `+now+`)`,
		insert+`('', 'charge', 1, 'run', `+now+`)`,
		insert+`('delivered', 'refund', 525, 'run', `+now+`)`,
		`INSERT INTO ledger_deliveries (order_id, run_id, recorded_at) VALUES ('refunded', 'run', `+now+`)`,
		`INSERT INTO ledger_deliveries (order_id, run_id, recorded_at) VALUES ('voided', 'run', `+now+`)`,
		`INSERT INTO ledger_deliveries (order_id, run_id, recorded_at) VALUES ('new', 'run', `+now+`)`,
		`INSERT INTO ledger_deliveries (order_id, run_id, recorded_at) VALUES ('charged', 'other', `+now+`)`,
		`INSERT INTO ledger_deliveries (order_id, run_id, recorded_at) VALUES ('delivered', 'run', `+now+`)`,
		`UPDATE ledger_deliveries SET recorded_at = `+now+` WHERE order_id = 'delivered'`,
		`DELETE FROM ledger_deliveries WHERE order_id = 'delivered'`,
	) {
		if _, err := db.Exec(statement); err == nil {
			t.Errorf("the database accepted: %s", statement)
		}
	}
	balance, err := ledger.Balance(ctx)
	if want := (Balance{Charges: 3, Refunds: 1, Voids: 1, Charged: 1575, Refunded: 525}); err != nil || balance != want {
		t.Errorf("got %+v, %v; want %+v", balance, err, want)
	}
}

// TestLedgerProperties compares the ledger with a model over random sequences
// of calls, and reopens the file in between. A failure prints the seed.
func TestLedgerProperties(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	runs := 0
	testLedgerProperties(t, func() string {
		runs++
		return filepath.Join(dir, fmt.Sprintf("ledger%d.db", runs))
	})
}

func testLedgerProperties(t *testing.T, empty func() string) {
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		path := empty()
		ledger, err := Open(ctx, path)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { ledger.Close() }()

		type book struct {
			run       string
			amount    coffee.Cents
			closed    coffee.EntryKind
			delivered bool
		}
		model := map[string]*book{}
		get := func(id string) *book {
			if model[id] == nil {
				model[id] = &book{}
			}
			return model[id]
		}
		ids := rapid.SampledFrom([]string{"1", "2", "3"})
		runIDs := rapid.SampledFrom([]string{"run-a", "run-b"})
		amounts := rapid.SampledFrom([]coffee.Cents{300, 525})
		rt.Repeat(map[string]func(*rapid.T){
			"charge": func(rt *rapid.T) {
				id, run, amount := ids.Draw(rt, "id"), runIDs.Draw(rt, "run"), amounts.Draw(rt, "amount")
				entry, err := ledger.Charge(ctx, coffee.Charge{OrderID: id, RunID: run, Amount: amount})
				b := get(id)
				var want error
				switch {
				case b.amount != 0 && b.run != run:
					want = coffee.ErrDuplicateOrder
				case b.amount != 0 && b.amount != amount:
					want = coffee.ErrAmountConflict
				case b.closed != "":
					want = coffee.ErrSettled
				default:
					b.run, b.amount = run, amount
				}
				if !errors.Is(err, want) {
					rt.Fatalf("charge: got %v, want %v", err, want)
				}
				if err == nil && (entry.Amount != amount || entry.Kind != coffee.EntryCharge || entry.RunID != run) {
					rt.Fatalf("charge: got %+v", entry)
				}
			},
			"refund": func(rt *rapid.T) {
				id, run := ids.Draw(rt, "id"), runIDs.Draw(rt, "run")
				entry, err := ledger.Refund(ctx, id, run)
				b := get(id)
				if b.amount != 0 && b.run != run {
					if !errors.Is(err, coffee.ErrDuplicateOrder) {
						rt.Fatalf("refund: got %v, want %v", err, coffee.ErrDuplicateOrder)
					}
					return
				}
				if b.delivered {
					if !errors.Is(err, coffee.ErrDelivered) {
						rt.Fatalf("refund: got %v, want %v", err, coffee.ErrDelivered)
					}
					return
				}
				if b.closed == "" {
					b.closed = coffee.EntryVoid
					if b.amount != 0 {
						b.closed = coffee.EntryRefund
					}
				}
				if err != nil || entry.Kind != b.closed || entry.Amount != b.amount {
					rt.Fatalf("refund: got %+v, %v; want a %s of %v", entry, err, b.closed, b.amount)
				}
			},
			"deliver": func(rt *rapid.T) {
				id := ids.Draw(rt, "id")
				err := ledger.Deliver(ctx, id)
				b := get(id)
				var want error
				switch {
				case b.closed != "":
					want = coffee.ErrSettled
				case b.amount == 0:
					want = coffee.ErrNotCharged
				default:
					b.delivered = true
				}
				if !errors.Is(err, want) {
					rt.Fatalf("deliver: got %v, want %v", err, want)
				}
				if delivered, err := ledger.Paid(ctx, id); !errors.Is(err, want) || delivered != b.delivered {
					rt.Fatalf("paid: got %v, %v; want %v, %v", delivered, err, b.delivered, want)
				}
			},
			"reopen": func(rt *rapid.T) {
				if err := ledger.Close(); err != nil {
					rt.Fatal(err)
				}
				if ledger, err = Open(ctx, path); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) { // the invariants, after each step
				var want Balance
				for id, b := range model {
					kinds := ""
					if b.amount != 0 {
						want.Charges, want.Charged, kinds = want.Charges+1, want.Charged+b.amount, "charge "
					}
					switch b.closed {
					case coffee.EntryRefund:
						want.Refunds, want.Refunded = want.Refunds+1, want.Refunded+b.amount
					case coffee.EntryVoid:
						want.Voids++
					}
					kinds += string(b.closed)
					entries, err := ledger.Entries(ctx, id)
					if err != nil {
						rt.Fatal(err)
					}
					var got []string
					for _, entry := range entries {
						got = append(got, string(entry.Kind))
					}
					if strings.Join(got, " ") != strings.TrimSpace(kinds) {
						rt.Fatalf("order %s has entries %v, want %s", id, got, kinds)
					}
				}
				if got, err := ledger.Balance(ctx); err != nil || got != want {
					rt.Fatalf("balance: got %+v, %v; want %+v", got, err, want)
				}
			},
		})
	})
}

// TestLedgerConcurrency charges and refunds the same orders at once, through two
// handles on one file, as two worker processes have them.
func TestLedgerConcurrency(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	testLedgerConcurrency(t, openLedger(t, path), openLedger(t, path))
}

func testLedgerConcurrency(t *testing.T, handles ...Store) {
	ctx := context.Background()
	const orders = 20
	var wg sync.WaitGroup
	for order := range orders {
		for i := range 8 {
			wg.Go(func() {
				id, ledger := fmt.Sprint(order), handles[i%2]
				if i < 6 {
					if _, err := ledger.Charge(ctx, coffee.Charge{OrderID: id, RunID: "run", Amount: 525}); err != nil && !errors.Is(err, coffee.ErrSettled) {
						t.Error(err)
					}
				} else if _, err := ledger.Refund(ctx, id, "run"); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	balance, err := handles[0].Balance(ctx)
	if err != nil || balance.Net() != 0 || balance.Charges != balance.Refunds || balance.Refunds+balance.Voids != orders {
		t.Errorf("got %+v, %v", balance, err)
	}
}

// TestRefundAgainstDelivery: if a refund and a delivery are made at the same time,
// one succeeds, and the ledger knows which.
func TestRefundAgainstDelivery(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	testRefundAgainstDelivery(t, openLedger(t, path), openLedger(t, path))
}

func testRefundAgainstDelivery(t *testing.T, one, other Store) {
	ctx := context.Background()
	refunds := 0
	for i := range 50 {
		id := fmt.Sprint(i)
		if _, err := one.Charge(ctx, coffee.Charge{OrderID: id, RunID: "run", Amount: 525}); err != nil {
			t.Fatal(err)
		}
		var refunded, delivered error
		var wg sync.WaitGroup
		wg.Go(func() { _, refunded = one.Refund(ctx, id, "run") })
		wg.Go(func() { delivered = other.Deliver(ctx, id) })
		wg.Wait()
		switch {
		case refunded == nil && errors.Is(delivered, coffee.ErrSettled):
			refunds++
		case delivered == nil && errors.Is(refunded, coffee.ErrDelivered):
		default:
			t.Errorf("refund: %v, delivery: %v", refunded, delivered)
		}
	}
	t.Logf("%d refunds, %d deliveries", refunds, 50-refunds)
	if balance, err := one.Balance(ctx); err != nil || balance.Refunds != int64(refunds) {
		t.Errorf("got %+v, %v", balance, err)
	}
}

// TestLedgerFileIsTakenAway: the file is deleted or replaced while it is open.
// Anything written then would be lost at the next start, so every write fails.
func TestLedgerFileIsTakenAway(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, takeAway := range map[string]func(path string) error{
		"deleted": os.Remove,
		"moved":   func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error {
			other, err := Open(ctx, path+".other")
			if err != nil {
				return err
			}
			return errors.Join(other.Close(), os.Rename(path+".other", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "ledger.db")
			ledger := openLedger(t, path)
			if _, err := ledger.Charge(ctx, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525}); err != nil {
				t.Fatal(err)
			}
			if err := takeAway(path); err != nil {
				t.Fatal(err)
			}
			_, charge := ledger.Charge(ctx, coffee.Charge{OrderID: "2", RunID: "run", Amount: 525})
			_, refund := ledger.Refund(ctx, "1", "run")
			for step, err := range map[string]error{"charge": charge, "refund": refund, "delivery": ledger.Deliver(ctx, "1")} {
				if err == nil || coffee.IsRefusal(err) || !strings.Contains(err.Error(), path+" was deleted or replaced") {
					t.Errorf("%s: got %v", step, err)
				}
			}
		})
	}
}

// TestLedgerIsTakenAwayInATransaction: the file is deleted between the check and
// the commit. The charge is not acknowledged.
func TestLedgerIsTakenAwayInATransaction(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	ledger := openLedger(t, path).(*sqlLedger)
	ledger.now = func() time.Time {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
		return time.Now()
	}
	if _, err := ledger.Charge(context.Background(), coffee.Charge{OrderID: "1", RunID: "run", Amount: 525}); err == nil {
		t.Error("it was charged into a file that is gone")
	}
}

// TestLedgerNames: what Open takes for a URL, and that no error reveals a password.
func TestLedgerNames(t *testing.T) {
	t.Parallel()
	for where, want := range map[string]string{
		"ledger.db":                 "",
		"/var/lib/coffee/ledger.db": "",
		"host.db":                   "",
		"a=b.db":                    "",
		"postgres://u:pw@h/x":       "postgres://u:pw@h/x",
		"POSTGRES://u:pw@H/x":       "postgres://u:pw@H/x",
		"PostgreSQL://u:pw@h/x":     "postgresql://u:pw@h/x",
		"./ledger:2026.db":          "",
		"C:ledger.db":               "",
	} {
		if got, err := PostgresURL(where); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", where, got, err, want)
		}
	}
	dir := t.TempDir()
	t.Cleanup(func() {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("files were made: %v, %v", entries, err)
		}
	})
	for _, where := range []string{
		"", "mysql://u:secret@h/x", "MySQL://u:secret@h/x", "sqlite://" + dir + "/secret.db", "file:///secret.db", "https://u:secret@h/x",
		"host=localhost password=secret", "password=secret host=localhost", " user = u password = secret", "dbname=secret",
		"postgres://u:secret@127.0.0.1:1/x", "POSTGRES://u:secret@127.0.0.1:1/x", "postgres://127.0.0.1:1/x?password=secret&user=u",
		"postgres://u:secret@127.0.0.1:1/x?sslmode=nonsense", "postgres://u:secret@[::1/x", "postgres://u:sec%ret@h/x",
		"postgres://127.0.0.1:1/x?password=secret&sslmode=nonsense", "postgres://127.0.0.1:1/x?sslpassword=secret&sslmode=nonsense&sslkey=secret",
		"postgres://127.0.0.1:1/x?password=secret&connect_timeout=secret", "postgres://127.0.0.1:1/x?password=secret&target_session_attrs=secret",
		"postgres://u:slash/secret@h/x", "postgres://u:12/secret@h/x", "postgres://u:12#secret@h/x", "postgres://u:12?secret@h/x", "postgres://u:secret@h:port/x",
		" postgres://u:secret@h/x", "postgres://u:secret@h/x\n", "postgres://u:secret@h/x\x00", `"postgres://u:secret@h/x"`, "'postgres://u:secret@h/x'",
		"jdbc:postgresql://u:secret@h/x", "postgres:u:secret@h/x", "postgres:/u:secret@h/x", "postgresql:secret", "file:secret.db", "sqlite:secret.db",
		"u:secret@h://x", "sslpassword=secret host=h", "channel_binding=require password=secret", "krbsrvname=x passwort=secret", "replication=secret  x = y",
		"secret.db\n", "\tsecret.db", "sec\x1bret.db secret",
	} {
		ledger, err := Open(context.Background(), where)
		if err == nil {
			ledger.Close()
			t.Errorf("%s was opened", where)
		} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "sec%ret") || !strings.Contains(err.Error(), "cannot open the ledger") {
			t.Errorf("%s: got %v", where, err)
		}
	}
}

// TestLedgerInAnotherDatabase: a database that is not a ledger is left unchanged.
func TestLedgerInAnotherDatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`CREATE TABLE things (name TEXT)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), path); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
		t.Error("it was changed", err)
	}
}

// TestLedgerNamesOfOneFile: a symbolic link leads to the same ledger. A hard link
// is rejected, because it would have a log of its own.
func TestLedgerNamesOfOneFile(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	real, soft, hard := filepath.Join(dir, "real.db"), filepath.Join(dir, "soft.db"), filepath.Join(dir, "hard.db")
	if err := os.Symlink("real.db", soft); err != nil {
		t.Fatal(err)
	}
	one := openLedger(t, soft) // creates the file
	if _, err := one.Charge(ctx, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525}); err != nil {
		t.Fatal(err)
	}
	other := openLedger(t, real)
	if entries, err := other.Entries(ctx, "1"); err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v", entries, err)
	}
	if err := os.Link(real, hard); err != nil {
		t.Fatal(err)
	}
	if ledger, err := Open(ctx, hard); err == nil || !strings.Contains(err.Error(), "more than one name") {
		t.Errorf("got %v, %v", ledger, err)
	}
}

func TestOpenExistingLedger(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	if _, err := OpenExisting(context.Background(), path); !errors.Is(err, ErrNoLedger) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it was created")
	}
	openLedger(t, path)
	ledger, err := OpenExisting(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.Close(); err != nil {
		t.Error(err)
	}
}

func TestLedgerFile(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("is private", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "what? 100% a #ledger.db")
		ledger := openLedger(t, path)
		if _, err := ledger.Charge(ctx, coffee.Charge{OrderID: "1", RunID: "run", Amount: 1}); err != nil {
			t.Fatal(err)
		}
		for _, suffix := range []string{"", "-wal", "-shm"} {
			info, err := os.Stat(path + suffix)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", suffix, info, err)
			}
		}
	})
	t.Run("is gone, but for its log", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "ledger.db")
		if err := os.WriteFile(path+"-wal", []byte("entries"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(ctx, path); err == nil || !strings.Contains(err.Error(), "ledger.db-wal is there") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("in a directory that does not exist", func(t *testing.T) {
		if _, err := Open(ctx, filepath.Join(t.TempDir(), "no", "ledger.db")); err == nil {
			t.Error("it was opened")
		}
	})
	intact := filepath.Join(t.TempDir(), "ledger.db")
	ledger := openLedger(t, intact)
	for i := range 300 {
		if _, err := ledger.Charge(ctx, coffee.Charge{OrderID: fmt.Sprint(i), RunID: "run", Amount: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ledger.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(intact)
	if err != nil {
		t.Fatal(err)
	}
	garbage := []byte(strings.Repeat("garbage ", 512)) // a page of it
	for name, damaged := range map[string][]byte{
		"is no database":                garbage,
		"is empty":                      {},
		"is truncated":                  data[:len(data)/2],
		"is truncated within a page":    data[:len(data)-100],
		"has garbage in the middle":     slices.Concat(data[:3*4096], garbage, data[4*4096:]),
		"has garbage at the beginning":  slices.Concat(garbage, data[4096:]),
		"has garbage after its header":  slices.Concat(data[:100], garbage[:3996], data[4096:]),
		"has pages that were forgotten": slices.Concat(data[:4*4096], make([]byte, len(data)-4*4096)),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			ledger, err := Open(ctx, path)
			if err == nil {
				ledger.Close()
				t.Fatal("it was opened")
			}
			t.Log(err)
			if !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, damaged) {
				t.Error("the file was changed", err)
			}
		})
	}
}

// TestLedgerPragmas: a commit survives a power failure, as it does on the Temporal
// server. Otherwise the two could disagree about a charge.
func TestLedgerPragmas(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	for _, opened := range []string{"created", "existing"} {
		ledger := openLedger(t, path)
		for pragma, want := range map[string]string{
			"synchronous":  "2", // full
			"journal_mode": "wal",
			"busy_timeout": "5000", // milliseconds
		} {
			var got string
			if err := ledger.(*sqlLedger).db.QueryRow(`PRAGMA ` + pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %s is %s, %v; want %s", opened, pragma, got, err, want)
			}
		}
	}
}

// TestLedgerInTrouble: the disk is full, or the database is read-only or locked. A
// charge then fails without being refused, leaves no half-written row, and succeeds
// when the trouble is over.
func TestLedgerInTrouble(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, test := range map[string]struct{ begin, end string }{
		"disk full": {`PRAGMA max_page_count = 1`, `PRAGMA max_page_count = 1000000`}, // no more pages than there are
		"read-only": {`PRAGMA query_only = ON`, `PRAGMA query_only = OFF`},
		"locked":    {`PRAGMA busy_timeout = 10`, `PRAGMA busy_timeout = 5000`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "ledger.db")
			ledger := openLedger(t, path)
			db := ledger.(*sqlLedger).db // it has one connection, to which the pragmas apply
			if _, err := db.Exec(test.begin); err != nil {
				t.Fatal(err)
			}
			end := func() error { return nil }
			if name == "locked" {
				other, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
				if err != nil {
					t.Fatal(err)
				}
				defer other.Close()
				tx, err := other.Begin()
				if err != nil {
					t.Fatal(err)
				}
				end = tx.Rollback
			}
			var trouble error
			charged := 0
			for ; trouble == nil && charged < 10_000; charged++ {
				_, trouble = ledger.Charge(ctx, coffee.Charge{OrderID: fmt.Sprint(charged), RunID: "run", Amount: 525})
			}
			charged-- // the last one failed
			t.Logf("after %d charges: %v", charged, trouble)
			if trouble == nil || coffee.IsRefusal(trouble) {
				t.Fatalf("got %v", trouble)
			}
			if entries, err := ledger.Entries(ctx, fmt.Sprint(charged)); err != nil || len(entries) != 0 {
				t.Errorf("the charge that failed left %v, %v", entries, err)
			}
			// Its row is a little shorter than that of the charge, and may have room where that has
			// none, unless its id is longer.
			if _, err := ledger.Refund(ctx, fmt.Sprint(charged)+strings.Repeat("0", 100), "run"); err == nil || coffee.IsRefusal(err) {
				t.Errorf("a refund in trouble: %v", err)
			}
			// A page that is there can be written anew on a full disk, where this is a limit of SQLite's.
			if err := ledger.Ready(ctx); err == nil && name != "disk full" {
				t.Error("it is ready")
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(test.end); err != nil {
				t.Fatal(err)
			}
			if _, err := ledger.Charge(ctx, coffee.Charge{OrderID: fmt.Sprint(charged), RunID: "run", Amount: 525}); err != nil {
				t.Errorf("after the trouble: %v", err)
			}
			if err := ledger.Ready(ctx); err != nil {
				t.Errorf("after the trouble it is not ready: %v", err)
			}
			want := Balance{Charges: int64(charged) + 1, Charged: 525 * (coffee.Cents(charged) + 1)}
			if balance, err := ledger.Balance(ctx); err != nil || balance != want {
				t.Errorf("got %+v, %v; want %+v", balance, err, want)
			}
		})
	}
}

// TestLedgerClocks: workers whose clocks are years apart share a ledger. No rule
// depends on the time.
func TestLedgerClocks(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "ledger.db")
	slow, fast := openLedger(t, path), openLedger(t, path)
	slow.(*sqlLedger).now = func() time.Time { return time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC) }
	fast.(*sqlLedger).now = func() time.Time { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.FixedZone("", 14*3600)) }
	charge := coffee.Charge{OrderID: "1", RunID: "run", Amount: 525}
	if _, err := fast.Charge(ctx, charge); err != nil {
		t.Fatal(err)
	}
	if again, err := slow.Charge(ctx, charge); err != nil || again.RecordedAt.Year() != 2099 {
		t.Errorf("got %v, %v", again, err)
	}
	if refund, err := slow.Refund(ctx, "1", "run"); err != nil || refund.Kind != coffee.EntryRefund {
		t.Errorf("got %v, %v", refund, err)
	}
	for _, ledger := range []Store{slow, fast} {
		if _, err := ledger.Charge(ctx, charge); !errors.Is(err, coffee.ErrSettled) {
			t.Errorf("a charge after the refund: %v", err)
		}
		entries, err := ledger.Entries(ctx, "1")
		if err != nil || len(entries) != 2 || entries[0].Kind != coffee.EntryCharge || entries[1].Kind != coffee.EntryRefund {
			t.Errorf("got %v, %v", entries, err)
		}
	}
}

// TestLedgerTimes: what a call returns is what the database has, which is no finer
// than a microsecond, the least that PostgreSQL keeps.
func TestLedgerTimes(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	ledger := memoryLedger(t)
	ledger.(*sqlLedger).now = func() time.Time { return time.Date(2026, 11, 24, 8, 0, 0, 123_456_789, time.FixedZone("", 3600)) }
	entry, err := ledger.Charge(ctx, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525})
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 11, 24, 7, 0, 0, 123_456_000, time.UTC); entry.RecordedAt != want {
		t.Errorf("recorded at %v, want %v", entry.RecordedAt, want)
	}
	entries, err := ledger.Entries(ctx, "1")
	if err != nil || len(entries) != 1 || entries[0] != entry {
		t.Errorf("the ledger has %v, %v; the call returned %v", entries, err, entry)
	}
}
