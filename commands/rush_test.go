package commands

import (
	"context"
	"errors"
	"testing"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
)

// TestRushSumsItsOwnOrders: what others pay meanwhile is not the rush's.
func TestRushSumsItsOwnOrders(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l, err := ledger.OpenMemory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, id := range []string{"mine-1", "mine-2", "theirs"} {
		if _, err := l.Charge(ctx, coffee.Charge{OrderID: id, RunID: "run", Amount: 525}); err != nil {
			t.Fatal(err)
		}
	}
	_, refund := l.Refund(ctx, "mine-2", "run")
	_, void := l.Refund(ctx, "mine-3", "run")
	sum, err := sumLedger(ctx, l, []string{"mine-1", "mine-2", "mine-3", "mine-4"})
	if want := (rushLedger{Charges: 2, Refunds: 1, Voids: 1, NetCents: 525}); errors.Join(refund, void, err) != nil || *sum != want {
		t.Errorf("got %+v, %v", sum, errors.Join(refund, void, err))
	}
}
