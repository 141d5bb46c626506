//go:build unix

package chaos

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"example.com/coffee/coffee"
)

// The processes of a chaos run. Workers 3 and 4 are those of the next release, if the
// run upgrades.
const (
	theServer = iota
	theClient
	theBoard
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
	// network disturbs the connections between the victim and the server.
	network
	// storage makes calls of the victim to its database fail: the server's to its own,
	// a worker's to the ledger. Some of them are done all the same.
	storage
	// clock gives a worker a wrong clock, which jumps.
	clock
	// power kills the server and the workers, and leaves of their files what a power
	// failure would.
	power
	// operator does what operators do to orders.
	operator
	// forever begins a fault that stays.
	forever
	// backUp makes a backup while everything runs, and restore goes back to it.
	backUp
	restore
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

// Faults are the names of the faults that a run can inject.
var Faults = []string{"kill", "freeze", "network", "storage", "clock", "power", "operator", "forever", "upgrade"}

// ClusterFaults are those that it can inject if the server is not the run's own.
var ClusterFaults = []string{"kill", "freeze", "network", "storage", "clock", "operator", "forever"}

// group returns which of [Faults] a kind belongs to.
func (k kind) group() string {
	switch k {
	case carryOver, rollForward, rollBack:
		return "upgrade"
	case strike:
		return "kill"
	case backUp, restore:
		return "operator"
	}
	return Faults[k]
}

// String names a kind in what a run says.
func (k kind) String() string {
	switch k {
	case carryOver:
		return "upgrade"
	case strike:
		return "strike"
	case backUp:
		return "backup"
	case restore:
		return "restore"
	}
	return k.group()
}

// fault is something that happens to the processes, or to orders.
type fault struct {
	kind
	victim int // unless it is the cluster, a rollout or an operator's
	// pause is how long the fault lasts, or how long the victim is down before it is
	// restarted. In a carry-over it is the time from the restart to the second kill.
	pause time.Duration
	// detail decides the rest.
	detail uint64
	// at is the share of the orders, from 0 to 1, that are sent before the fault.
	at float64
}

// longFreeze is longer than the heartbeat timeout of a brew, so that another worker has
// tried by then.
func longFreeze(r *rand.Rand) time.Duration {
	return coffee.BrewHeartbeatTimeout + time.Duration(r.Int64N(int64(coffee.ActivityTimeout)))
}

func upTo(r *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(limit)))
}

func anyWorker(r *rand.Rand) int { return worker1 + r.IntN(2) }

// disturbed returns a disturbance of the network, by its number: of eight in a row, two are
// the client's and one is the board's.
func disturbed(r *rand.Rand, number uint64) fault {
	switch {
	case number%4 == 3:
		return fault{victim: theClient, pause: 2*time.Second + upTo(r, 10*time.Second)}
	case number%8 == 2:
		return fault{victim: theBoard, pause: 2*time.Second + upTo(r, 10*time.Second)}
	}
	return fault{victim: anyWorker(r), pause: longFreeze(r)}
}

// schedule decides which faults are injected, and when. For every four kills there is
// one freeze and one disturbance of the network, two actions of operators, and so on.
// If the run upgrades, the workers go forward to the next release, back, and forward
// again, and the database is carried over twice in between. A run of fewer than five kills
// does each once.
func schedule(seed uint64, kills int, groups []string) []fault {
	has := func(k kind) bool { return slices.Contains(groups, k.group()) }
	var faults []fault
	// Each kind has numbers of its own, so that a seed means the same whatever other
	// kinds there are. Only upgrades move some of the others to other workers.
	add := func(k kind, count int, draw func(r *rand.Rand, i int) fault) {
		r := rand.New(rand.NewPCG(seed, 1<<63+uint64(k)))
		for i := range count {
			f := draw(r, i)
			f.kind, f.detail = k, r.Uint64()
			f.at = (float64(i) + r.Float64()) / float64(count)
			if has(k) {
				faults = append(faults, f)
			}
		}
	}
	some := func(of int) int { return min(kills, max(1, kills/of)) }

	add(kill, kills, func(r *rand.Rand, _ int) fault {
		victim := theServer
		switch p := r.Float64(); {
		case p < 0.1:
			victim = theClient
		case p < 0.6:
			victim = anyWorker(r)
		}
		return fault{victim: victim, pause: upTo(r, time.Second)}
	})
	add(freeze, kills/4, func(r *rand.Rand, i int) fault {
		pause := longFreeze(r)
		if i%2 == 0 { // longer than the timeout of a charge, too
			pause = coffee.ActivityTimeout + time.Second + upTo(r, 4*time.Second)
		}
		return fault{victim: anyWorker(r), pause: pause}
	})
	add(network, some(4), func(r *rand.Rand, i int) fault { return disturbed(r, seed+uint64(i)) })
	add(storage, some(6), func(r *rand.Rand, i int) fault {
		if i%2 == 0 { // which has to start first
			return fault{victim: anyWorker(r), pause: 5*time.Second + upTo(r, 5*time.Second)}
		}
		return fault{victim: theServer, pause: 2*time.Second + upTo(r, 4*time.Second)}
	})
	add(clock, some(8), func(r *rand.Rand, _ int) fault {
		return fault{victim: anyWorker(r), pause: 3*time.Second + upTo(r, 8*time.Second)}
	})
	add(power, some(10), func(r *rand.Rand, _ int) fault { return fault{pause: upTo(r, time.Second)} })
	add(operator, some(2), func(r *rand.Rand, _ int) fault { return fault{pause: upTo(r, 5*time.Second)} })
	if kills >= 1 && has(forever) {
		r := rand.New(rand.NewPCG(seed, 1<<63+uint64(forever)))
		faults = append(faults, fault{kind: forever, victim: anyWorker(r), detail: r.Uint64(), at: 0.5})
	}
	if kills >= 5 && has(operator) {
		faults = append(faults, fault{kind: backUp, at: 0.4}, fault{kind: restore, at: 0.45})
	}
	if slices.Contains(groups, "upgrade") {
		upgrades := upgrades(seed, faults)
		if kills < 5 { // as with backups, a small run has no way back
			upgrades = upgrades[:2]
		}
		faults = append(faults, upgrades...)
	}
	slices.SortStableFunc(faults, func(a, b fault) int { return cmp.Compare(a.at, b.at) })
	return faults
}

// upgrades returns the faults of an upgrade. Half of what hits workers hits the next
// release then, once it is there.
func upgrades(seed uint64, others []fault) []fault {
	r := rand.New(rand.NewPCG(seed, 1<<63+uint64(carryOver)))
	for i, fault := range others {
		if isWorker(fault.victim) && fault.at > 0.15 && fault.detail%2 == 0 {
			others[i].victim += worker3 - worker1
		}
	}
	const instant = 400 * time.Millisecond
	return []fault{{kind: rollForward, at: 0.15}, {kind: carryOver, pause: upTo(r, instant), at: 0.3},
		{kind: rollBack, at: 0.5}, {kind: carryOver, pause: upTo(r, instant), at: 0.6}, {kind: rollForward, at: 0.8}}
}
