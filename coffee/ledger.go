package coffee

import (
	"context"
	"errors"
	"time"
)

// Ledger is the book of all money that moved. It is append-only and holds at
// most one entry of each kind per order, so calls can be repeated: after a
// crash, by a retry, by two workers at once.
//
// It also holds which coffees were handed out, because that and a refund exclude
// each other: whichever comes first is final, and only the ledger can tell, since
// an attempt that was frozen may wake up at any time, and a workflow may be reset.
//
// An error that is none of the refusals below is a failure of the database: the
// outcome is then unknown, and the call should be repeated.
type Ledger interface {
	// Charge records that the customer pays for the order, and returns the
	// entry; if the same charge is recorded already, it returns that one.
	//
	// It changes nothing and returns [ErrInvalidEntry] if the amount is not
	// positive or an id is empty, [ErrDuplicateOrder] if another run charged
	// the order, [ErrAmountConflict] if it was charged another amount, and
	// [ErrSettled] if it was refunded or voided.
	Charge(ctx context.Context, charge Charge) (Entry, error)

	// Refund gives back what the run charged for the order, and returns the
	// refund. If nothing was charged it records a void instead, which refuses
	// any charge that is still to come. If either is recorded already, it
	// returns that one.
	//
	// It changes nothing and returns [ErrInvalidEntry] if an id is empty,
	// [ErrDuplicateOrder] if the charge there is was made by another run, and
	// [ErrDelivered] if the coffee was handed out.
	Refund(ctx context.Context, orderID, runID string) (Entry, error)

	// Deliver records that the coffee of an order is handed out, which is what
	// its charge is for: from then on a refund is refused. If that is recorded
	// already, it does nothing.
	//
	// It changes nothing and returns [ErrInvalidEntry] if the order id is empty,
	// [ErrNotCharged] if nothing was charged, and [ErrSettled] if the order was
	// refunded or voided.
	Deliver(ctx context.Context, orderID string) error

	// Paid returns nil if the charge of an order stands, or else what Deliver
	// would return; it reports whether the coffee was handed out already.
	Paid(ctx context.Context, orderID string) (delivered bool, err error)

	// Entries returns the entries of an order, oldest first; none is no error.
	Entries(ctx context.Context, orderID string) ([]Entry, error)

	// Balance sums up the whole ledger.
	Balance(ctx context.Context) (Balance, error)

	// Close releases the database.
	Close() error
}

// The ledger's final refusals.
var (
	ErrInvalidEntry   = errors.New("invalid ledger entry")
	ErrDuplicateOrder = errors.New("an earlier order of the same id was charged already")
	ErrAmountConflict = errors.New("the order was charged another amount already")
	ErrSettled        = errors.New("the order was refunded or voided already")
	ErrNotCharged     = errors.New("the order was not charged")
	ErrDelivered      = errors.New("the coffee was handed out already")
)

// ErrNoLedger: there is no ledger where one was expected.
var ErrNoLedger = errors.New("there is no ledger")

// IsRefusal reports whether err is one of the ledger's final refusals, which
// trying again does not change.
func IsRefusal(err error) bool {
	for _, refusal := range []error{ErrInvalidEntry, ErrDuplicateOrder, ErrAmountConflict, ErrSettled, ErrNotCharged, ErrDelivered} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// EntryKind is the kind of a ledger entry.
type EntryKind string

// The kinds of ledger entries.
const (
	// EntryCharge is money that the customer paid.
	EntryCharge EntryKind = "charge"
	// EntryRefund is the charge, given back.
	EntryRefund EntryKind = "refund"
	// EntryVoid says that the order is over without a charge. Its amount is 0.
	EntryVoid EntryKind = "void"
)

// Charge is what [Ledger.Charge] is asked to record.
type Charge struct {
	OrderID string
	// RunID is the original run id of the order's workflow. It tells a retry
	// from another order that happens to have the same id.
	RunID  string
	Amount Cents
}

// Entry is one row of the ledger.
type Entry struct {
	OrderID    string
	Kind       EntryKind
	Amount     Cents
	RunID      string
	RecordedAt time.Time // UTC
}

// Balance sums up a ledger.
type Balance struct {
	Charges, Refunds, Voids int64 // how many there are
	Charged, Refunded       Cents // what they add up to
}

// Net is what the shop has earned.
func (b Balance) Net() Cents { return b.Charged - b.Refunded }
