package ledger

import (
	"context"
	"errors"

	"example.com/coffee/coffee"
)

// Store is a [coffee.Ledger] in a database.
type Store interface {
	coffee.Ledger

	// Balance sums up the whole ledger.
	Balance(ctx context.Context) (Balance, error)

	// ID returns what distinguishes this ledger from all others; empty if it can belong
	// to any number of namespaces.
	ID() string

	// Bind records whose orders the ledger keeps, unless that is recorded already. It
	// returns [ErrForeignLedger] if it keeps those of another.
	Bind(ctx context.Context, owner Owner) error

	// Ready returns nil if the ledger could record an entry now.
	Ready(ctx context.Context) error

	// Close releases the database.
	Close() error
}

// ErrNoLedger means that there is no ledger where one was expected.
var ErrNoLedger = errors.New("there is no ledger")

// ErrNewerLedger means that a newer program has changed the ledger in a way that this
// one does not know. It is no refusal: another worker may be able to do it.
var ErrNewerLedger = errors.New("the ledger was changed by a newer program")

// Balance sums up a ledger.
type Balance struct {
	Charges, Refunds, Voids int64        // how many there are
	Charged, Refunded       coffee.Cents // what they add up to
}

// Net returns what the shop has earned: the charges less the refunds.
func (b Balance) Net() coffee.Cents { return b.Charged - b.Refunded }
