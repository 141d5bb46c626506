//go:build unix

package chaos

import (
	"context"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	failurepb "go.temporal.io/api/failure/v1"
	workflowpb "go.temporal.io/api/workflow/v1"

	"example.com/coffee/lab/chaos/operations"
)

// TestSchedule: there is one freeze for every four kills, and so on. Every other freeze
// is longer than a charge may take, so that the zombie wakes up too late.
func TestSchedule(t *testing.T) {
	t.Parallel()
	want := map[kind]int{kill: 40, freeze: 10, network: 10, storage: 6, clock: 5, power: 4, operator: 20, backUp: 1, restore: 1}
	for seed := range uint64(50) {
		counts := map[kind]int{}
		long, board := 0, 0
		last := 0.0
		for _, fault := range schedule(seed, 40, allButUpgrades) {
			if fault.at < last || fault.at >= 1 {
				t.Errorf("seed %d: a fault at %v after one at %v", seed, fault.at, last)
			}
			last = fault.at
			counts[fault.kind]++
			if fault.victim == theBoard {
				board++
			}
			switch {
			case fault.kind == freeze && fault.victim != worker1 && fault.victim != worker2:
				t.Errorf("seed %d: process %d is frozen", seed, fault.victim)
			case fault.kind == freeze && fault.pause > 10*time.Second: // the start-to-close timeout
				long++
			case fault.kind == freeze && fault.pause < 3*time.Second: // the heartbeat timeout
				t.Errorf("seed %d: a freeze of %v", seed, fault.pause)
			case fault.victim == theClient && fault.kind != kill && fault.kind != network,
				fault.victim == theBoard && fault.kind != network:
				t.Errorf("seed %d: %+v", seed, fault)
			}
		}
		if !maps.Equal(counts, want) || long < 5 || board == 0 {
			t.Errorf("seed %d: %v, %d long freezes, %d faults of the board", seed, counts, long, board)
		}
	}
}

// allButUpgrades are all faults but the upgrades.
var allButUpgrades = Faults[:7]

// TestScheduleOfSome: what a seed means for one kind of fault does not depend on the
// others, so that a run can be repeated with fewer.
func TestScheduleOfSome(t *testing.T) {
	t.Parallel()
	all := schedule(7, 40, allButUpgrades)
	for _, name := range allButUpgrades {
		var want []fault
		for _, fault := range all {
			if fault.group() == name {
				want = append(want, fault)
			}
		}
		if got := schedule(7, 40, []string{name}); !slices.Equal(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

// TestScheduleOfUpgrades: the workers go forward, back and forward again, with a database
// that is carried over on either release in between. Kills hit both releases.
func TestScheduleOfUpgrades(t *testing.T) {
	t.Parallel()
	victims := map[int]int{}
	for seed := range uint64(50) {
		var steps []kind
		last, kills := 0.0, 0
		for _, fault := range schedule(seed, 40, []string{"kill", "freeze", "upgrade"}) {
			if fault.at < last || fault.at >= 1 {
				t.Errorf("seed %d: a fault at %v after one at %v", seed, fault.at, last)
			}
			last = fault.at
			switch fault.kind {
			case kill, freeze:
				kills++
				victims[fault.victim]++
				if fault.victim >= worker3 && len(steps) == 0 {
					t.Errorf("seed %d: worker %d is hit before it is there", seed, fault.victim)
				}
			default:
				steps = append(steps, fault.kind)
			}
			if fault.kind == carryOver && (fault.victim != theServer || fault.pause >= 400*time.Millisecond) {
				t.Errorf("seed %d: %+v", seed, fault)
			}
		}
		if !slices.Equal(steps, []kind{rollForward, carryOver, rollBack, carryOver, rollForward}) || kills != 50 {
			t.Errorf("seed %d: steps %v, %d other faults", seed, steps, kills)
		}
	}
	var few []kind
	for _, fault := range schedule(1, 4, []string{"upgrade"}) {
		few = append(few, fault.kind)
	}
	if !slices.Equal(few, []kind{rollForward, carryOver}) {
		t.Errorf("with few kills: %v", few)
	}
	for process := range processCount {
		if (victims[process] == 0) != (process == theBoard) {
			t.Errorf("process %d is hit %d times", process, victims[process])
		}
	}
}

func TestPartner(t *testing.T) {
	t.Parallel()
	for worker, want := range map[int]int{worker1: worker2, worker2: worker1, worker3: worker4, worker4: worker3} {
		if got := partner(worker); got != want {
			t.Errorf("the partner of %d is %d", worker, got)
		}
	}
}

// TestPresent: a fault whose victim is lost, or was never started because its rollout is
// not among the faults, hits another worker.
func TestPresent(t *testing.T) {
	t.Parallel()
	r := &run{}
	r.processes[worker1], r.processes[worker2] = &process{}, &process{}
	for _, test := range []struct{ lost, victim, want int }{
		{theServer, theServer, theServer}, {theServer, theClient, theClient}, {theServer, worker2, worker2},
		{theServer, worker3, worker1}, {worker1, worker3, worker2}, {worker2, worker2, worker1},
	} {
		r.lost = test.lost
		if got := r.present(test.victim); got != test.want {
			t.Errorf("%+v: got %d", test, got)
		}
	}
}

func TestMisfits(t *testing.T) {
	t.Parallel()
	got := (&evidence{histories: map[string]*history{"fits": {}, "b": {misfit: true}, "a": {misfit: true}}}).misfits()
	if len(got) != 2 || !strings.HasSuffix(got[0], "history of order a") {
		t.Errorf("got %q", got)
	}
}

// TestCarriedOver: an upgrade that did not happen is an incident.
func TestCarriedOver(t *testing.T) {
	t.Parallel()
	r := &run{Options: Options{Dir: t.TempDir()}, injected: []injectedFault{{fault: fault{kind: carryOver}}, {fault: fault{kind: kill}}, {fault: fault{kind: carryOver}}}}
	for i, name := range []string{"server.db.before-1.30.9", "server.db.before-1.30.9-2"} {
		if err := os.WriteFile(filepath.Join(r.Dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		count, incidents, err := r.carriedOver()
		if err != nil || count != i+1 || len(incidents) != 1-i {
			t.Errorf("%d upgrades, %q, %v", count, incidents, err)
		}
	}
}

func TestLostCancels(t *testing.T) {
	t.Parallel()
	histories := map[string]*history{"there": {cancelled: true}, "lost": {}, "reset": {}, "terminated": {}}
	var all []operations.Operation
	for _, id := range []string{"there", "lost", "gone", "reset", "terminated"} {
		all = append(all, operations.Operation{Order: id, Kind: operations.Cancel, Outcome: operations.OK},
			operations.Operation{Order: id, Kind: operations.Place, Outcome: operations.OK})
	}
	got := (&evidence{operations: all, histories: histories,
		touched: touched{"reset": {operations.Reset, operations.Terminate}, "terminated": {operations.Terminate}}}).lostCancels()
	if len(got) != 3 || !strings.Contains(got[0], "order lost was acknowledged") || !strings.Contains(got[1], "order gone") || !strings.Contains(got[2], "order terminated") {
		t.Errorf("got %q", got)
	}
}

func TestIdleWorkers(t *testing.T) {
	t.Parallel()
	c := &run{}
	c.processes[worker1] = &process{name: "worker 1", pids: []int{10, 11}}
	c.processes[worker2] = &process{name: "worker 2", pids: []int{20}}
	began := time.Now()
	histories := map[string]*history{}
	for i := range 20 {
		histories[string(rune('a'+i))] = &history{steps: []time.Time{began, began}, workers: []string{"11@host", "30@host"}}
	}
	if got := c.idleWorkers(histories); len(got) != 1 || !strings.Contains(got[0], "worker 2 has done nothing") {
		t.Errorf("got %q", got)
	}
	histories["a"].workers = []string{"11@host", "20@host@"}
	if got := c.idleWorkers(histories); len(got) != 0 {
		t.Errorf("got %q", got)
	}

	// One that is cut off cannot work.
	histories["a"].workers = []string{"11@host"}
	c.injected = []injectedFault{{fault{kind: network, victim: worker2, pause: time.Minute}, began}}
	if got := c.idleWorkers(histories); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	c.injected = []injectedFault{{fault{kind: network, victim: worker2, pause: time.Minute}, began.Add(time.Second)}}
	histories["a"].steps[1] = began.Add(2 * time.Second) // nor take what was placed before
	if got := c.idleWorkers(histories); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	c.injected = nil
	histories["a"].workers = []string{"11@host", "20@host@"}

	// A worker has nothing to do unless orders begin on its release.
	c.processes[worker1].buildID, c.processes[worker2].buildID = firstRelease, firstRelease
	c.processes[worker3] = &process{name: "worker 3", pids: []int{40}, buildID: nextRelease}
	c.processes[worker4] = &process{name: "worker 4", pids: []int{50}, buildID: nextRelease}
	if got := c.idleWorkers(histories); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	for _, h := range histories {
		h.workers = []string{"40@host"}
	}
	if got := c.idleWorkers(histories); len(got) != 1 || !strings.Contains(got[0], "worker 4 has done nothing") {
		t.Errorf("got %q", got)
	}
}

// TestMain lets a run start this test binary in place of the program. Its argument
// is then its exit code.
func TestMain(m *testing.M) {
	if os.Args[0] == "coffee" {
		code, err := strconv.Atoi(os.Args[1])
		if err != nil {
			panic(err)
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// TestProcessesThatEnd: a process that ends by itself with an error is an incident,
// unless the reason may be that it could not reach the server.
func TestProcessesThatEnd(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	// A port that was free a moment ago may be taken by another test meanwhile.
	const nowhere = "127.0.0.1:1"
	for name, test := range map[string]struct {
		which  int
		server string // the address that is watched
		code   string
		want   bool
	}{
		"a worker that finds no server":          {worker1, nowhere, "1", false},
		"a worker that fails with a server":      {worker1, listener.Addr().String(), "1", true},
		"a worker that fails in another way":     {worker1, nowhere, "2", true},
		"a server that fails":                    {theServer, nowhere, "1", true},
		"a client that has ended without errors": {theClient, listener.Addr().String(), "0", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &run{outages: watchOutages(test.server)}
			t.Cleanup(r.outages.stop)
			p := &process{name: "process", args: []string{test.code}, log: filepath.Join(t.TempDir(), "log"), once: test.which == theClient}
			r.processes[test.which] = p
			if err := p.start(); err != nil {
				t.Fatal(err)
			}
			ended := func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return len(p.exits) > 0
			}
			deadline := time.Now().Add(time.Minute)
			for !ended() && time.Now().Before(deadline) {
				select {
				case <-p.done:
					deadline = time.Now()
				case <-time.After(10 * time.Millisecond):
				}
			}
			r.stop(test.which)
			if got := slices.ContainsFunc(r.incidents, func(s string) bool { return strings.Contains(s, "ended by itself") }); got != test.want {
				t.Errorf("got %q", r.incidents)
			}
		})
	}
}

// TestShrink: of a run that fails because of two faults and one order, they are left.
func TestShrink(t *testing.T) {
	t.Parallel()
	options := Options{Seed: 7, Orders: 500, Kills: 40, Faults: allButUpgrades}
	all := len(Schedule(options))
	runs := 0
	small, err := Shrink(context.Background(), options, func(_ context.Context, o Options) (bool, error) {
		runs++
		return o.Orders > 30 && slices.Contains(o.Only, 11) && slices.Contains(o.Only, 57), nil
	})
	if err != nil || small.Orders != 31 || !slices.Equal(small.Only, []int{11, 57}) {
		t.Errorf("after %d runs of %d faults: %+v, %v", runs, all, small, err)
	}
	faults := Schedule(small)
	if len(faults) != 2 || faults[1].Number != 57 || faults[1].What != Schedule(options)[57].What {
		t.Errorf("got %+v", faults)
	}
	if runs > 60 {
		t.Errorf("it took %d runs", runs)
	}
	if _, err := Shrink(context.Background(), options, func(context.Context, Options) (bool, error) { return false, nil }); err == nil {
		t.Error("a run that does not fail was shrunk")
	}
	if _, err := Shrink(context.Background(), options, func(_ context.Context, o Options) (bool, error) { return o.Kills > 0, nil }); err != nil {
		t.Error(err)
	}
}

// TestLongestOrder: three steps of five attempts, each of 10 s, with pauses of 1, 2, 4 and
// 8 s; a refund that has to wait for 30 s between two attempts of 10 s; and five tasks of a
// workflow, at 15 s.
func TestLongestOrder(t *testing.T) {
	t.Parallel()
	if got := longestOrder(); got != 320*time.Second {
		t.Errorf("got %v", got)
	}
}

// TestWait: a step that is asked for more than twice as often as its pauses allow spins,
// and one that has failed says why.
func TestWait(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		attempt int32
		since   time.Duration
		message string
		ok      bool
	}{
		{1, 0, "", true},
		{4, 500 * time.Millisecond, "no", true},
		{5, 500 * time.Millisecond, "no", false},
		{10, 8 * time.Second, "no", true}, // after 1, 3 and 7 s, and the one to come, twice each
		{11, 8 * time.Second, "no", false},
		{18, 2*time.Minute - time.Second, "no", true}, // after 1, 3, 7, 15, 31, 61 and 91 s
		{19, 2*time.Minute - time.Second, "no", false},
		{4, time.Minute, "", false},
	} {
		pending := &workflowpb.PendingActivityInfo{Attempt: test.attempt}
		if test.message != "" {
			pending.LastFailure = &failurepb.Failure{Message: test.message}
		}
		if got := (wait{pending, test.since}).problem(); (got == "") != test.ok {
			t.Errorf("%+v: %q", test, got)
		}
	}
}
