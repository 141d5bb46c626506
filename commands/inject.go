package commands

import (
	"context"
	"errors"

	"example.com/coffee/coffee"
)

// noRefunds is a ledger that takes no refunds.
type noRefunds struct{ coffee.Ledger }

// Refund implements [coffee.Ledger].
func (noRefunds) Refund(context.Context, string, string) (coffee.Entry, error) {
	return coffee.Entry{}, errors.New("injected fault: the ledger takes no refunds")
}
