//go:build unix

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rs/zerolog"

	"example.com/coffee/coffee"
	"example.com/coffee/lab/chaos/operations"
)

// pace is the interval between orders.
const pace = 200 * time.Millisecond

// plannedOrder is one order of a chaos run, and what its client does with it. It
// depends only on the seed and the number of the order, so that a client that was
// killed carries on where it was.
type plannedOrder struct {
	request coffee.OrderRequest
	// input, unless nil, is sent instead. No worker should accept it.
	input any
	// twice makes the client place the order a second time.
	twice bool
	// another, unless empty, is a drink that the client orders with the same id,
	// which must be refused.
	another coffee.Drink
	// cancelAfter is how long after its acknowledgement the order is cancelled;
	// negative if it is not.
	cancelAfter time.Duration
	// looks are how long after the order is first sent the client looks at it, besides
	// waiting for its end.
	looks []time.Duration
}

// jams reports whether an attempt to brew an order jams, in all workers of a run.
func jams(seed uint64, id string, attempt int) bool {
	machine := coffee.ServiceConfig{BrewFailureRate: coffee.DefaultServiceConfig().BrewFailureRate, Seed: seed}
	brew := coffee.NewServiceFactory(machine, nil, zerolog.Nop()).Brew()
	return brew.Brew(context.Background(), coffee.OrderRequest{OrderID: id}, attempt) != nil
}

// text is how the operations of the order name what is ordered.
func (o plannedOrder) text() string {
	if o.input != nil {
		return operations.Invalid
	}
	return o.request.String()
}

// planOrder plans order n, counted from 0.
func planOrder(seed uint64, n int) plannedOrder {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	menu := coffee.Menu()
	id := fmt.Sprintf("chaos-%d-%d", seed, n)
	drink := r.IntN(len(menu))
	order := plannedOrder{
		request: coffee.OrderRequest{
			OrderID: id,
			Drink:   menu[drink],
			Size:    []coffee.Size{coffee.SizeS, coffee.SizeM, coffee.SizeL}[r.IntN(3)],
		},
		cancelAfter: -1,
	}
	switch p := r.Float64(); {
	case p < 0.25: // a normal order takes about 1.2 s
		order.cancelAfter = time.Duration(r.Int64N(int64(1500 * time.Millisecond)))
	case p < 0.35:
		order.twice = true
	case p < 0.40:
		order.another = menu[(drink+1+r.IntN(len(menu)-1))%len(menu)]
	case p < 0.45:
		order.input = []any{
			nil, 42, "latte", []string{"latte"}, map[string]any{"order_id": id},
			map[string]any{"order_id": id, "drink": "engine oil", "size": "M"},
			map[string]any{"order_id": id, "drink": "latte", "size": "\x00\u202e"},
			map[string]any{"order_id": "another", "drink": "latte", "size": "M"},
		}[r.IntN(8)]
	}
	for range r.IntN(4) {
		order.looks = append(order.looks, time.Duration(r.Int64N(int64(3*time.Second))))
	}
	return order
}
