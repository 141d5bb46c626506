//go:build unix

package chaos

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestPlanFaults: there is one freeze for every four kills. Every other freeze is
// longer than a charge may take, so that the zombie wakes up too late.
func TestPlanFaults(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		var kills, freezes, long int
		last := 0.0
		for _, fault := range planFaults(seed, 40) {
			if fault.at < last || fault.at >= 1 {
				t.Errorf("seed %d: a fault at %v after one at %v", seed, fault.at, last)
			}
			last = fault.at
			switch {
			case !fault.freeze:
				kills++
				continue
			case fault.victim != worker1 && fault.victim != worker2:
				t.Errorf("seed %d: process %d is frozen", seed, fault.victim)
			case fault.pause > 10*time.Second: // the start-to-close timeout
				long++
			case fault.pause < 3*time.Second: // the heartbeat timeout
				t.Errorf("seed %d: a freeze of %v", seed, fault.pause)
			}
			freezes++
		}
		if kills != 40 || freezes != 10 || long < 5 {
			t.Errorf("seed %d: %d kills, %d freezes, %d of them long", seed, kills, freezes, long)
		}
	}
}

func TestLostCancels(t *testing.T) {
	t.Parallel()
	histories := map[string]*history{"there": {cancelled: true}, "lost": {}}
	got := lostCancels(histories, []string{"there", "lost", "gone"})
	if len(got) != 2 || !strings.Contains(got[0], "order lost was acknowledged") || !strings.Contains(got[1], "order gone") {
		t.Errorf("got %q", got)
	}
}

func TestIdleWorkers(t *testing.T) {
	t.Parallel()
	c := &run{}
	c.processes[worker1] = &process{name: "worker 1", pids: []int{10, 11}}
	c.processes[worker2] = &process{name: "worker 2", pids: []int{20}}
	histories := map[string]*history{}
	for i := range 20 {
		histories[string(rune('a'+i))] = &history{workers: []string{"11@host", "30@host"}}
	}
	if got := c.idleWorkers(histories); len(got) != 1 || !strings.Contains(got[0], "worker 2 has done nothing") {
		t.Errorf("got %q", got)
	}
	histories["a"].workers = []string{"20@host@"}
	if got := c.idleWorkers(histories); len(got) != 0 {
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
