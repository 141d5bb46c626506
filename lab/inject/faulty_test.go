package inject

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/ledger/ledgertest"
)

func TestLedgerFaults(t *testing.T) {
	t.Parallel()
	testLedgerFaults(t, filepath.Join(t.TempDir(), "ledger.db"))
}

func TestPostgresLedgerFaults(t *testing.T) {
	t.Parallel()
	testLedgerFaults(t, ledgertest.PostgresURL(t))
}

// testLedgerFaults: after a call that failed nobody knows whether it was done. To call
// again makes it so, once.
func testLedgerFaults(t *testing.T, where string) {
	ctx := context.Background()
	sound := openLedger(t, where)
	var kind atomic.Int64 // of the call that is to come
	var left atomic.Int64 // how many calls of the database before it
	failing, err := ledger.Open(ctx, where, ledger.Wrapped(Faulty(func() Fault {
		if left.Add(-1) == 0 {
			return Fault(kind.Load())
		}
		return noFault
	})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { failing.Close() })

	var made, notMade int
	for n := int64(1); ; n++ {
		failed := false
		for _, what := range []Fault{notDone, doneAndLost} {
			id := fmt.Sprintf("%d-%d", n, what)
			charge := coffee.Charge{OrderID: id, RunID: "run", Amount: 525}
			kind.Store(int64(what))
			left.Store(n)
			_, err := failing.Charge(ctx, charge)
			left.Store(0)
			if err != nil && !errors.Is(err, errInjected) || coffee.IsRefusal(err) {
				t.Fatalf("call %d: %v", n, err)
			}
			failed = failed || err != nil
			entries, entriesErr := sound.Entries(ctx, id)
			if entriesErr != nil {
				t.Fatal(entriesErr)
			}
			if err != nil && len(entries) == 0 {
				notMade++
			} else if err != nil {
				made++
			}
			if _, err := failing.Charge(ctx, charge); err != nil {
				t.Errorf("call %d, again: %v", n, err)
			}
			if entries, err := sound.Entries(ctx, id); err != nil || len(entries) != 1 || entries[0].Amount != 525 {
				t.Errorf("call %d: %+v, %v", n, entries, err)
			}
		}
		if !failed { // a charge takes fewer calls
			break
		}
	}
	if made != 1 || notMade < 4 { // a commit that was done is the only one that counts
		t.Errorf("%d charges that failed were done, %d were not", made, notMade)
	}
}

// TestLedgerFaultsAtRandom: whatever fails, each order is charged once and refunded once
// in the end.
func TestLedgerFaultsAtRandom(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	where := filepath.Join(t.TempDir(), "ledger.db")
	sound := openLedger(t, where)
	failing, err := ledger.Open(ctx, where, ledger.Wrapped(Faulty(func() Fault { return Fault(r.IntN(6)) }))) // three of six are none
	for err != nil {
		failing, err = ledger.Open(ctx, where, ledger.Wrapped(Faulty(func() Fault { return Fault(r.IntN(6)) })))
	}
	t.Cleanup(func() { failing.Close() })
	insist := func(do func() error) {
		t.Helper()
		for err := do(); err != nil; err = do() {
			if !errors.Is(err, errInjected) {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
	for n := range 20 {
		id := fmt.Sprint(n)
		insist(func() error {
			_, err := failing.Charge(ctx, coffee.Charge{OrderID: id, RunID: "run", Amount: 300})
			return err
		})
		insist(func() error {
			_, err := failing.Refund(ctx, id, "run")
			return err
		})
	}
	if balance, err := sound.Balance(ctx); err != nil || balance != (ledger.Balance{Charges: 20, Refunds: 20, Charged: 6000, Refunded: 6000}) {
		t.Errorf("seed %d: %+v, %v", seed, balance, err)
	}
}

func openLedger(t *testing.T, where string) ledger.Store {
	t.Helper()
	opened, err := ledger.Open(context.Background(), where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	return opened
}
