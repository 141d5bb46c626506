package coffee

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Ledger is the record of all money that moved. It is append-only and holds at most
// one charge, and one refund or void, per order. That makes its calls idempotent: they can be
// repeated after a crash, by a retry, or by two workers at once.
//
// It also records which coffees were handed out, because a delivery and a refund
// exclude each other: whichever comes first is final. Only the ledger can decide
// that, since a frozen attempt may wake up at any time, and a workflow may be
// reset.
//
// An error other than the refusals below is a failure of the database. The outcome
// is then unknown, and the call should be repeated.
type Ledger interface {
	// Charge records that the customer pays for the order, and returns the entry.
	// If the same charge is already recorded, it returns that entry.
	//
	// It changes nothing and returns [ErrInvalidEntry] if the amount is not
	// positive or an id is empty, [ErrDuplicateOrder] if another run charged the
	// order, [ErrAmountConflict] if it was charged a different amount, and
	// [ErrSettled] if it was refunded or voided.
	Charge(ctx context.Context, charge Charge) (Entry, error)

	// Refund refunds what the run charged for the order, and returns the refund. If
	// nothing was charged, it records a void instead, so that any later charge is
	// refused. If either is already recorded, it returns that entry.
	//
	// It changes nothing and returns [ErrInvalidEntry] if an id is empty,
	// [ErrDuplicateOrder] if another run made the charge, and [ErrDelivered] if the
	// coffee was handed out.
	Refund(ctx context.Context, orderID, runID string) (Entry, error)

	// Deliver records that the coffee of an order is handed out, which is what the
	// customer was charged for. From then on a refund is refused. If the delivery
	// is already recorded, it does nothing.
	//
	// It changes nothing and returns [ErrInvalidEntry] if the order id is empty,
	// [ErrNotCharged] if nothing was charged, and [ErrSettled] if the order was
	// refunded or voided.
	Deliver(ctx context.Context, orderID string) error

	// Paid returns nil if the charge of an order stands, and otherwise the error
	// that Deliver would return. It reports whether the coffee was already handed
	// out.
	Paid(ctx context.Context, orderID string) (delivered bool, err error)

	// Entries returns the entries of an order, oldest first. Having none is not an
	// error.
	Entries(ctx context.Context, orderID string) ([]Entry, error)
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

// IsRefusal reports whether err is one of the ledger's final refusals, which no
// retry can change.
func IsRefusal(err error) bool {
	refusals := []error{ErrInvalidEntry, ErrDuplicateOrder, ErrAmountConflict, ErrSettled, ErrNotCharged, ErrDelivered}
	return slices.ContainsFunc(refusals, func(refusal error) bool { return errors.Is(err, refusal) })
}

// EntryKind is the kind of a ledger entry.
type EntryKind string

// The kinds of ledger entries.
const (
	// EntryCharge is money that the customer paid.
	EntryCharge EntryKind = "charge"
	// EntryRefund is the charge, paid back to the customer.
	EntryRefund EntryKind = "refund"
	// EntryVoid closes an order that was not charged. Its amount is 0.
	EntryVoid EntryKind = "void"
)

// Charge is what [Ledger.Charge] is asked to record.
type Charge struct {
	OrderID string
	// RunID is the original run id of the order's workflow. It distinguishes a
	// retry from another order with the same id.
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
