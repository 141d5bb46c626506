//go:build unix

package chaos

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/coffee/internal/sleep"
	"example.com/coffee/lab/chaos/operations"
	"example.com/coffee/lab/inject"
)

// recovery measures how long orders in progress took to recover from a fault.
func (r *run) recovery(histories map[string]*history) Recovery {
	var took []float64
	for _, h := range histories {
		for _, fault := range r.injected {
			// The first step is the order's acceptance by the server.
			if next, _ := slices.BinarySearchFunc(h.steps, fault.when, time.Time.Compare); next > 0 && next < len(h.steps) {
				took = append(took, h.steps[next].Sub(fault.when).Seconds())
			}
		}
	}
	if len(took) == 0 {
		return Recovery{}
	}
	slices.Sort(took)
	return Recovery{Orders: len(took), P50: took[len(took)/2], P99: took[len(took)*99/100], Max: took[len(took)-1]}
}

// unexplained reports the orders whose operations cannot have had the outcomes that they
// had, and leaves a picture of each in the run's directory.
func (r *run) unexplained(all []operations.Operation) (incidents []string, err error) {
	violated, undecided := operations.Check(all, r.deleted)
	for _, id := range undecided {
		incidents = append(incidents, "what the clients were told of order "+id+" has too many explanations to find one")
	}
	for _, id := range violated {
		path := r.path("operations-" + id + ".html")
		file, err := os.Create(path)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(operations.Draw(file, all, id), file.Close()); err != nil {
			return nil, err
		}
		incidents = append(incidents, "what the clients were told of order "+id+" cannot have been so; see "+path)
	}
	return incidents, nil
}

// enoughForAll is how many orders it takes until each worker has done some of the work.
const enoughForAll = 20

// idleWorkers reports the workers that have done nothing, although enough orders of their
// release were placed, and taken by another worker, while no fault kept them from working.
func (r *run) idleWorkers(histories map[string]*history) (incidents []string) {
	worked := map[int]bool{}
	for _, h := range histories {
		for _, identity := range h.workers {
			worked[r.workerOf(identity)] = true
		}
	}
	for _, i := range r.workers() {
		p, began := r.processes[i], 0
		for _, h := range histories {
			if len(h.workers) > 0 && r.buildID(h.workers[0]) == p.buildID && r.canWork(i, h.steps[0]) && r.canWork(i, h.steps[1]) {
				began++
			}
		}
		if began >= enoughForAll && !worked[i] {
			incidents = append(incidents, "the "+p.name+" has done nothing; see "+p.log)
		}
	}
	return incidents
}

// workerOf returns the worker that has an identity, which the SDK begins with the process
// id; [theServer] if none has.
func (r *run) workerOf(identity string) int {
	pid, _, _ := strings.Cut(identity, "@")
	for _, i := range r.workers() {
		if slices.ContainsFunc(r.processes[i].pids, func(own int) bool { return strconv.Itoa(own) == pid }) {
			return i
		}
	}
	return theServer
}

// buildID returns the release of the worker that has an identity; empty if no worker has it.
func (r *run) buildID(identity string) string {
	if i := r.workerOf(identity); i != theServer {
		return r.processes[i].buildID
	}
	return ""
}

// reconnects is how long a worker may take to poll again after the server has started.
const reconnects = 3 * time.Second

// canWork reports whether no fault keeps a worker, or the server, from working at a time.
func (r *run) canWork(worker int, when time.Time) bool {
	return !slices.ContainsFunc(r.injected, func(f injectedFault) bool {
		victim, lasts := f.victim == worker, f.pause
		switch {
		case f.kind == forever && worker == r.lost:
			lasts = time.Hour
		case f.kind == kill && f.victim == theServer:
			victim, lasts = true, f.pause+reconnects
		}
		return victim && !when.Before(f.when) && when.Before(f.when.Add(lasts))
	})
}

// lateCharges counts the charges in the workers' logs that outlived their attempts.
func (r *run) lateCharges() (all, refused int, err error) {
	for _, i := range r.workers() {
		log, err := os.ReadFile(r.processes[i].log)
		if err != nil {
			return 0, 0, err
		}
		refused += strings.Count(string(log), inject.LateChargeRefused)
		all += strings.Count(string(log), inject.LateCharge)
	}
	return all + refused, refused, nil
}

// outages records when the server could not be reached.
type outages struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	times []time.Time // when it did not answer
}

// watchOutages probes the server once, and then at short intervals until stop is
// called.
func watchOutages(address string) *outages {
	ctx, cancel := context.WithCancel(context.Background())
	o := &outages{cancel: cancel, done: make(chan struct{})}
	o.probe(address)
	go func() {
		defer close(o.done)
		for sleep.For(ctx, 20*time.Millisecond) {
			o.probe(address)
		}
	}()
	return o
}

func (o *outages) probe(address string) {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err == nil {
		err = conn.Close()
	}
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.times = append(o.times, time.Now())
	}
}

func (o *outages) stop() {
	o.cancel()
	<-o.done
}

// during reports whether the server could not be reached at some time in between.
func (o *outages) during(from, to time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.ContainsFunc(o.times, func(t time.Time) bool { return !t.Before(from) && !t.After(to) })
}
