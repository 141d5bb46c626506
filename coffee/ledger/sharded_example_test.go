package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log"
	"slices"
	"strings"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
)

// sharded is a ledger in several databases. All rows of an order are in one of them, so
// everything that a database has to check, it can check alone.
type sharded []ledger.Store

var _ ledger.Store = sharded{}

// of returns the ledger of an order. The number of ledgers must never change: an order
// would not be found in another one, and could be charged again.
func (s sharded) of(orderID string) ledger.Store {
	hash := fnv.New32a()
	hash.Write([]byte(orderID))
	return s[hash.Sum32()%uint32(len(s))]
}

func (s sharded) Charge(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
	return s.of(charge.OrderID).Charge(ctx, charge)
}

func (s sharded) Refund(ctx context.Context, orderID, runID string) (coffee.Entry, error) {
	return s.of(orderID).Refund(ctx, orderID, runID)
}

func (s sharded) Deliver(ctx context.Context, orderID string) error {
	return s.of(orderID).Deliver(ctx, orderID)
}

func (s sharded) Paid(ctx context.Context, orderID string) (bool, error) {
	return s.of(orderID).Paid(ctx, orderID)
}

func (s sharded) Entries(ctx context.Context, orderID string) ([]coffee.Entry, error) {
	return s.of(orderID).Entries(ctx, orderID)
}

func (s sharded) Balance(ctx context.Context) (sum ledger.Balance, err error) {
	for _, l := range s {
		b, err := l.Balance(ctx)
		if err != nil {
			return ledger.Balance{}, err
		}
		sum.Charges, sum.Refunds, sum.Voids = sum.Charges+b.Charges, sum.Refunds+b.Refunds, sum.Voids+b.Voids
		sum.Charged, sum.Refunded = sum.Charged+b.Charged, sum.Refunded+b.Refunded
	}
	return sum, nil
}

// ID returns the ids of all of them, in their order.
func (s sharded) ID() string {
	var ids []string
	for _, l := range s {
		ids = append(ids, l.ID())
	}
	return strings.Join(ids, "-")
}

func (s sharded) Bind(ctx context.Context, owner ledger.Owner) error {
	var errs []error
	for _, l := range s {
		errs = append(errs, l.Bind(ctx, owner))
	}
	return errors.Join(errs...)
}

func (s sharded) Ready(ctx context.Context) error {
	var errs []error
	for _, l := range s {
		errs = append(errs, l.Ready(ctx))
	}
	return errors.Join(errs...)
}

func (s sharded) Close() error {
	var errs []error
	for _, l := range slices.Backward(s) {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// One ledger in four databases, by order id.
func Example_sharded() {
	ctx := context.Background()
	var orders sharded
	for range 4 {
		l, err := ledger.OpenMemory(ctx) // in production: ledger.Open of four postgres:// URLs
		if err != nil {
			log.Fatal(err)
		}
		orders = append(orders, l)
	}
	defer orders.Close()
	for i := range 100 {
		charge := coffee.Charge{OrderID: fmt.Sprint(i), RunID: "run", Amount: 525}
		for range 2 { // the second time, the first outcome is returned
			if _, err := orders.Charge(ctx, charge); err != nil {
				log.Fatal(err)
			}
		}
	}
	balance, err := orders.Balance(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(balance.Charges, balance.Net())
	for _, l := range orders {
		if b, err := l.Balance(ctx); err != nil || b.Charges < 10 {
			fmt.Println("a ledger has next to nothing:", b.Charges, err)
		}
	}
	// Output: 100 $525.00
}
