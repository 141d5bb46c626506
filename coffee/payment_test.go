package coffee_test

import (
	"context"
	"errors"
	"testing"

	"github.com/rs/zerolog"

	"example.com/coffee/coffee"
)

// TestChargeEndsWithItsAttempt: a charge whose attempt was given up is not made.
func TestChargeEndsWithItsAttempt(t *testing.T) {
	t.Parallel()
	given, up := context.WithCancel(context.Background())
	up()
	ledger := memoryLedger(t)
	payment := coffee.NewServiceFactory(coffee.ServiceConfig{}, ledger, zerolog.Nop()).Payment()
	if err := payment.Charge(given, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if balance, err := ledger.Balance(context.Background()); err != nil || balance.Charges != 0 {
		t.Errorf("got %+v, %v", balance, err)
	}
}
