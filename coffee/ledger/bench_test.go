package ledger

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger/ledgertest"
)

// BenchmarkPostgres does to a ledger in PostgreSQL what a completed order does, for ten
// orders at once: it is charged, asked for twice, and delivered.
func BenchmarkPostgres(b *testing.B) {
	ctx := context.Background()
	ledger, err := Open(ctx, ledgertest.PostgresURL(b))
	if err != nil {
		b.Fatal(err)
	}
	defer ledger.Close()
	var next atomic.Int64
	b.SetParallelism(10)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := fmt.Sprint(next.Add(1))
			_, err := ledger.Charge(ctx, coffee.Charge{OrderID: id, RunID: "run", Amount: 525})
			for range 2 {
				if err == nil {
					_, err = ledger.Paid(ctx, id)
				}
			}
			if err == nil {
				err = ledger.Deliver(ctx, id)
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
}
