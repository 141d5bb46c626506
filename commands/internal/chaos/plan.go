//go:build unix

package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
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

// The processes of a chaos run. Workers 3 and 4 are those of the next release, if the
// run upgrades.
const (
	theServer = iota
	theClient
	worker1
	worker2
	worker3
	worker4
	processCount
)

func isWorker(process int) bool { return process >= worker1 }

// partner returns the other worker of the same release.
func partner(worker int) int { return worker1 + ((worker - worker1) ^ 1) }

// kind is what a fault does.
type kind int

const (
	// kill kills the victim, which is restarted.
	kill kind = iota
	// freeze suspends the victim, which wakes up again as a zombie.
	freeze
	// carryOver kills the server, makes its database that of an older one, and kills
	// the server again while it carries the database over.
	carryOver
	// rollForward makes the next release of the workers current, and rollBack the
	// first one again.
	rollForward
	rollBack
	// strike does harm to a cluster that the run has not started.
	strike
)

// fault is something that happens to the processes.
type fault struct {
	kind
	victim int // of a kill, a freeze, a carry-over
	// pause is how long the victim is frozen, or down before it is restarted. In a
	// carry-over it is the time from the restart to the second kill.
	pause time.Duration
	// at is the share of the orders, from 0 to 1, that are sent before the fault.
	at float64
}

// planFaults decides which faults are injected, and when. For every four kills there
// is one freeze. If the run upgrades, the workers go forward to the next release, back,
// and forward again, and the database is carried over twice in between.
func planFaults(seed uint64, kills int, upgrade bool) []fault {
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
		faults = append(faults, fault{kind: freeze, victim: worker1 + r.IntN(2), pause: pause})
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
	if !upgrade {
		return faults
	}
	for i, fault := range faults { // half of them hit the next release, once it is there
		if isWorker(fault.victim) && fault.at > 0.15 && r.IntN(2) == 0 {
			faults[i].victim += worker3 - worker1
		}
	}
	instant := func() time.Duration { return time.Duration(r.Int64N(int64(400 * time.Millisecond))) }
	faults = append(faults, fault{kind: rollForward, at: 0.15}, fault{kind: carryOver, pause: instant(), at: 0.3},
		fault{kind: rollBack, at: 0.5}, fault{kind: carryOver, pause: instant(), at: 0.6}, fault{kind: rollForward, at: 0.8})
	slices.SortStableFunc(faults, func(a, b fault) int { return cmp.Compare(a.at, b.at) })
	return faults
}
