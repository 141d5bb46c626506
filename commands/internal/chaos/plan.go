//go:build unix

package chaos

import (
	"fmt"
	"math/rand/v2"
	"time"

	"example.com/coffee/coffee"
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
	return order
}

// The processes of a chaos run.
const (
	theServer = iota
	worker1
	worker2
	theClient
	processCount
)

// fault is a kill or a freeze of a process.
type fault struct {
	victim int
	// freeze means that the victim is suspended and wakes up again, as a zombie.
	// Otherwise it is killed.
	freeze bool
	// pause is how long the victim is frozen, or down before it is restarted.
	pause time.Duration
	// at is the share of the orders, from 0 to 1, that are sent before the fault.
	at float64
}

// planFaults decides which faults are injected, and when. For every four kills there
// is one freeze.
func planFaults(seed uint64, kills int) []fault {
	r := rand.New(rand.NewPCG(seed, 1<<63))
	freezes := kills / 4
	faults := make([]fault, 0, kills+freezes)
	for i := range freezes {
		// Longer than a brew's heartbeat timeout, so that another worker has tried
		// by then. Every other freeze is longer than the timeout of a charge, too.
		pause := coffee.BrewHeartbeatTimeout + time.Duration(r.Int64N(int64(coffee.ActivityTimeout)))
		if i%2 == 0 {
			pause = coffee.ActivityTimeout + time.Second + time.Duration(r.Int64N(int64(4*time.Second)))
		}
		faults = append(faults, fault{victim: worker1 + r.IntN(2), freeze: true, pause: pause})
	}
	for range kills {
		victim := theServer
		switch p := r.Float64(); {
		case p < 0.1:
			victim = theClient
		case p < 0.6:
			victim = worker1 + r.IntN(2)
		}
		faults = append(faults, fault{victim: victim, pause: time.Duration(r.Int64N(int64(time.Second)))})
	}
	r.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	for i := range faults {
		faults[i].at = (float64(i) + r.Float64()) / float64(len(faults))
	}
	return faults
}
