package coffee_test

import (
	"context"
	"errors"
	"testing"

	"github.com/rs/zerolog"

	"example.com/coffee/coffee"
)

// TestLateCharges: a late charge continues after its attempt was given up, and the
// ledger keeps it from doing harm. Other charges end with their attempt.
func TestLateCharges(t *testing.T) {
	t.Parallel()
	background := context.Background()
	given, up := context.WithCancel(background)
	up()
	ledger := memoryLedger(t)
	for rate, want := range map[float64]error{0: context.Canceled, 1: nil} {
		payment := coffee.NewServiceFactory(coffee.ServiceConfig{LateChargeRate: rate}, ledger, zerolog.Nop()).Payment()
		if err := payment.Charge(given, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525}); !errors.Is(err, want) {
			t.Errorf("at rate %v: got %v, want %v", rate, err, want)
		}
	}
	if balance, err := ledger.Balance(background); err != nil || balance.Charges != 1 {
		t.Errorf("got %+v, %v", balance, err)
	}
	late := coffee.NewServiceFactory(coffee.ServiceConfig{LateChargeRate: 1}, ledger, zerolog.Nop()).Payment()
	if _, err := late.Refund(background, "1", "run"); err != nil {
		t.Fatal(err)
	}
	if err := late.Charge(given, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525}); !errors.Is(err, coffee.ErrSettled) {
		t.Errorf("after the refund: %v", err)
	}
}
