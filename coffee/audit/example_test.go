package audit_test

import (
	"context"
	"fmt"
	"log"

	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee/audit"
)

// The audit compares the orders on a server with the ledger of its workers.
func ExampleRun() {
	ctx := context.Background()
	temporal, err := client.Dial(client.Options{HostPort: "localhost:7233", Namespace: "default"})
	if err != nil {
		log.Fatal(err)
	}
	defer temporal.Close()
	book, err := audit.OpenBook(ctx, "ledger.db")
	if err != nil {
		log.Fatal(err)
	}
	defer book.Close()
	report, err := audit.Run(ctx, audit.Options{Client: temporal, Namespace: "default", Book: book})
	if err != nil {
		log.Fatal(err)
	}
	for _, breach := range report.Breaches {
		fmt.Printf("rule %d, order %s: %s\n", breach.Rule, breach.OrderID, breach.Problem)
	}
}

func ExampleRule() {
	fmt.Println(len(audit.Rules()))
	fmt.Println(audit.RuleClosed)
	// Output:
	// 8
	// no charge after a void or a refund
}
