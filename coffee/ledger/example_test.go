package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
)

// A call can be repeated, and what has been refunded is never charged again.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	l, err := ledger.Open(ctx, filepath.Join(dir, "ledger.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()

	charge := coffee.Charge{OrderID: "123", RunID: "a run", Amount: 525}
	for range 2 {
		entry, err := l.Charge(ctx, charge)
		fmt.Println(entry.Kind, entry.Amount, err)
	}
	refund, err := l.Refund(ctx, "123", "a run")
	fmt.Println(refund.Kind, refund.Amount, err)
	_, err = l.Charge(ctx, charge)
	fmt.Println(errors.Is(err, coffee.ErrSettled), coffee.IsRefusal(err))
	balance, err := l.Balance(ctx)
	fmt.Println(balance.Charges, balance.Refunds, balance.Net(), err)
	// Output:
	// charge $5.25 <nil>
	// charge $5.25 <nil>
	// refund $5.25 <nil>
	// true true
	// 1 1 $0.00 <nil>
}
