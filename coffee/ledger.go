package coffee

import (
	"context"
	"errors"
	"fmt"
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

// The ledger's final refusals.
var (
	ErrInvalidEntry   = errors.New("invalid ledger entry")
	ErrDuplicateOrder = errors.New("an earlier order of the same id was charged already")
	ErrAmountConflict = errors.New("the order was charged another amount already")
	ErrSettled        = errors.New("the order was refunded or voided already")
	ErrNotCharged     = errors.New("the order was not charged")
	ErrDelivered      = errors.New("the coffee was handed out already")
)

// ErrNoLedger means that there is no ledger where one was expected.
var ErrNoLedger = errors.New("there is no ledger")

// ErrNewerLedger means that a newer program has changed the ledger in a way that this
// one does not know. It is no refusal: another worker may be able to do it.
var ErrNewerLedger = errors.New("the ledger was changed by a newer program")

// ErrForeignLedger means that the ledger keeps the orders of another namespace, or that
// the orders of this one are kept in another ledger.
var ErrForeignLedger = errors.New("this is not the ledger of these orders")

// Owner is the namespace whose orders a ledger keeps.
type Owner struct {
	// NamespaceID is the server's own id of the namespace. No other namespace has it,
	// on any server; a replica, a backup or a restored database of the server does.
	NamespaceID string
	Namespace   string // its name, for people
}

// Check returns [ErrForeignLedger] unless both are the same namespace.
func (o Owner) Check(other Owner) error {
	if o.NamespaceID == other.NamespaceID {
		return nil
	}
	return fmt.Errorf("%w: it keeps those of namespace %s with the id %s, and these are of namespace %s with the id %s", ErrForeignLedger,
		Quote(o.Namespace), Quote(o.NamespaceID), Quote(other.Namespace), Quote(other.NamespaceID))
}

// IsRefusal reports whether err is one of the ledger's final refusals, which no
// retry can change.
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

// Balance sums up a ledger.
type Balance struct {
	Charges, Refunds, Voids int64 // how many there are
	Charged, Refunded       Cents // what they add up to
}

// Net returns what the shop has earned: the charges less the refunds.
func (b Balance) Net() Cents { return b.Charged - b.Refunded }
