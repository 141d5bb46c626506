//go:build unix

package commands

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPlanBlows: there is one freeze for every four kills, and every other one is
// longer than a charge may take, so that a zombie wakes up when it is too late.
func TestPlanBlows(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		var kills, freezes, long int
		last := 0.0
		for _, blow := range planBlows(seed, 40) {
			if blow.at < last || blow.at >= 1 {
				t.Errorf("seed %d: a blow at %v after one at %v", seed, blow.at, last)
			}
			last = blow.at
			switch {
			case !blow.freeze:
				kills++
				continue
			case blow.victim != chaosWorker1 && blow.victim != chaosWorker2:
				t.Errorf("seed %d: process %d is frozen", seed, blow.victim)
			case blow.pause > 10*time.Second: // the start-to-close timeout
				long++
			case blow.pause < 3*time.Second: // the heartbeat timeout
				t.Errorf("seed %d: a freeze of %v", seed, blow.pause)
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
	histories := map[string]*chaosHistory{"there": {cancelled: true}, "lost": {}}
	got := lostCancels(histories, []string{"there", "lost", "gone"})
	if len(got) != 2 || !strings.Contains(got[0], "order lost was acknowledged") || !strings.Contains(got[1], "order gone") {
		t.Errorf("got %q", got)
	}
}

func TestIdleWorkers(t *testing.T) {
	t.Parallel()
	c := &chaos{}
	c.processes[chaosWorker1] = &process{name: "worker 1", pids: []int{10, 11}}
	c.processes[chaosWorker2] = &process{name: "worker 2", pids: []int{20}}
	histories := map[string]*chaosHistory{}
	for i := range 20 {
		histories[string(rune('a'+i))] = &chaosHistory{workers: []string{"11@host", "30@host"}}
	}
	if got := c.idleWorkers(histories); len(got) != 1 || !strings.Contains(got[0], "worker 2 has done nothing") {
		t.Errorf("got %q", got)
	}
	histories["a"].workers = []string{"20@host@"}
	if got := c.idleWorkers(histories); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

// TestProcessesThatEnd: a process that ends with an error by itself is an incident,
// unless it is one that may have found no server.
func TestProcessesThatEnd(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	nowhere, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		which  int
		server string // that is watched
		args   []string
		want   bool
	}{
		"a worker that finds no server":          {chaosWorker1, "127.0.0.1:" + nowhere[0], []string{"worker", "--address", "127.0.0.1:" + nowhere[0]}, false},
		"a worker that fails with a server":      {chaosWorker1, listener.Addr().String(), []string{"status", "-o", "json", "--config-file", "/no/such"}, true},
		"a worker that fails in another way":     {chaosWorker1, "127.0.0.1:" + nowhere[0], []string{"worker", "--frob"}, true},
		"a server that fails":                    {chaosServer, "127.0.0.1:" + nowhere[0], []string{"server", "--headless", "--port", "0", "-f", "/no/such/file"}, true},
		"a client that has ended without errors": {chaosClient, listener.Addr().String(), []string{"menu"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := &output{out: &checkedWriter{w: io.Discard}, err: io.Discard}
			c := &chaos{out: out, dir: t.TempDir()}
			env, err := chaosEnv(c.dir)
			if err != nil {
				t.Fatal(err)
			}
			c.outages = watchOutages(test.server)
			t.Cleanup(c.outages.stop)
			p := &process{name: "process", args: test.args, env: env, log: filepath.Join(c.dir, "log"), once: test.which == chaosClient}
			c.processes[test.which] = p
			if err := p.start(); err != nil {
				t.Fatal(err)
			}
			ended := func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return len(p.exits) > 0
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			for !ended() {
				select {
				case <-p.done:
				case <-time.After(10 * time.Millisecond):
					if ctx.Err() != nil {
						t.Fatal("it did not end")
					}
					continue
				}
				break
			}
			c.stop(test.which)
			if got := slices.ContainsFunc(c.incidents, func(s string) bool { return strings.Contains(s, "ended by itself") }); got != test.want {
				t.Errorf("got %q", c.incidents)
			}
		})
	}
}
