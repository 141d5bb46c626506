//go:build unix

// Package chaos tests the program by injecting faults. It runs a server, two workers
// and a client, each in a process of its own, kills and freezes them while orders
// are in progress, and audits the orders at the end. In place of its own server it can
// use a cluster that is there.
//
// plan.go derives the orders and the faults from the seed, start.go starts the
// processes, process.go keeps them alive, client.go is the client with its journal in journal.go,
// faults.go and rollout.go inject the faults, and verdict.go and report.go judge and
// report the outcome.
package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"
)

// Options say what a run does.
type Options struct {
	// Seed decides what is ordered, and which faults are injected and when.
	Seed uint64
	// Orders is how many orders are placed, 1 or more, and Kills how often a
	// process is killed, 0 or more.
	Orders, Kills int
	// Dir is the directory to work in, which must exist and be empty.
	Dir string
	// MakeOlder, unless nil, makes the run one with upgrades: it makes the database of
	// a server that is down that of an older server. The workers have versions then.
	MakeOlder func(ctx context.Context, file string) error
	// Flags are the program's. Clients and workers get them; with a Cluster they name
	// it.
	Flags []string
	// Cluster, unless nil, is the server to use. The run then starts none.
	Cluster *Cluster
	// Connect connects to the server at an address; with a Cluster, to that.
	Connect func(ctx context.Context, address string) (client.Client, error)
	// Say is called with a line of text whenever something happens.
	Say func(line string)
}

// Cluster is a Temporal server that the run has not started.
type Cluster struct {
	// Namespace is where the orders are placed. The audit judges all that are there.
	Namespace string
	// Ledger is the path or URL of the ledger.
	Ledger string
	// Strike, unless empty, is a command for a shell that does harm to the cluster, in
	// place of the kills of the server. Without it, those hit the workers.
	Strike string
}

// Exit codes of a process that need not be incidents: after a failure, if the server
// was away, and after an interrupt.
const (
	exitFailure     = 1
	exitInterrupted = 130
)

// run is one run.
type run struct {
	Options
	server    string   // its address; empty in a cluster
	flags     []string // which name it
	namespace string
	ledger    string
	env       []string // of the processes

	processes [processCount]*process
	began     time.Time
	injected  []injectedFault
	incidents []string
	outages   *outages
	freezeBy  time.Time // until then a freeze waits for a charge
	// rollouts are under way while other faults are injected, one at a time.
	rollouts errgroup.Group
	releases []released
	// strikes are the same.
	strikes errgroup.Group
	saying  sync.Mutex
}

// Run starts the processes, injects the faults, waits until all orders have ended,
// and audits. When it returns, no process is left.
func Run(ctx context.Context, options Options) (*Report, error) {
	r := &run{Options: options, began: time.Now(), namespace: client.DefaultNamespace}
	r.rollouts.SetLimit(1)
	r.strikes.SetLimit(1)
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		r.killAll()
		_, _ = r.rollouts.Wait(), r.strikes.Wait() // they are known, or the run has failed
	}()
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	if err := r.injectAll(ctx); err != nil {
		return nil, err
	}
	if err := errors.Join(r.rollouts.Wait(), r.strikes.Wait()); err != nil {
		return nil, err
	}
	if err := r.waitForEnd(ctx); err != nil {
		return nil, err
	}
	r.say("stopping the client and the workers, auditing")
	r.stop(append([]int{theClient}, r.workers()...)...)
	if err := r.waitForServer(ctx); err != nil { // the last fault may have hit it
		return nil, err
	}
	report, err := r.report(ctx)
	if err != nil {
		return nil, err
	}
	if r.Cluster == nil {
		r.stop(theServer)
	}
	report.Incidents = append(report.Incidents, r.incidents...)
	report.Seconds = time.Since(r.began).Seconds()
	return report, nil
}

func (r *run) path(name string) string { return filepath.Join(r.Dir, name) }

// say reports what happens, and when.
func (r *run) say(format string, args ...any) {
	r.saying.Lock()
	defer r.saying.Unlock()
	r.Say(fmt.Sprintf("%6.1f s  %s", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...)))
}

// patience is how long a run waits for something that must happen: for the server
// to answer, for an order to end.
const patience = 2 * time.Minute

// waitForServer returns when the server answers.
func (r *run) waitForServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var ended chan struct{} // never, in a cluster
	if r.Cluster == nil {
		ended = r.processes[theServer].done
	}
	for {
		conn, err := r.connect(ctx)
		if err == nil {
			conn.Close()
			return nil
		}
		select {
		case <-ended:
			return errors.Join(errors.New("the server did not start"), r.processes[theServer].err)
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (r *run) connect(ctx context.Context) (client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return r.Connect(ctx, r.server)
}

// waitForEnd returns when the client has seen the end of every order, or when no
// order has ended for a long time. The report then says which ones are stuck.
func (r *run) waitForEnd(ctx context.Context) error {
	ended, last := 0, time.Now()
	for time.Since(last) < patience {
		lines, err := r.lines(journalEnded)
		if err != nil {
			return err
		}
		if len(lines) > ended {
			ended, last = len(lines), time.Now()
		}
		select {
		case <-r.processes[theClient].done:
			return r.processes[theClient].err
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// lines returns the lines of one of the client's files, without a line that is
// still being written.
func (r *run) lines(name string) ([]string, error) {
	data, err := os.ReadFile(r.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var lines []string
	for line := range bytes.Lines(data) {
		if text, complete := strings.CutSuffix(string(line), "\n"); complete {
			lines = append(lines, text)
		}
	}
	return lines, err
}

// stop stops processes, and records what went wrong with them as incidents.
func (r *run) stop(which ...int) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, i := range which {
		p := r.processes[i]
		if err := p.stop(ctx); err != nil {
			r.incidents = append(r.incidents, err.Error())
		}
		for _, exit := range p.exits {
			// A process that cannot reach the server may end with exitFailure. It
			// is restarted.
			if i != theServer && exit.code == exitFailure && r.serverWasAway(exit.ended) {
				continue
			}
			r.incidents = append(r.incidents, exit.what)
		}
	}
}

// serverWasAway reports whether a process may have ended because it could not reach the
// server.
func (r *run) serverWasAway(ended time.Time) bool {
	if r.Cluster == nil {
		return r.outages.during(ended.Add(-outageExcuse), ended)
	}
	return slices.ContainsFunc(r.injected, func(f injectedFault) bool {
		return f.kind == strike && f.when.Before(ended) && ended.Sub(f.when) < strikeExcuse
	})
}

// killAll leaves no process behind, however the run ended.
func (r *run) killAll() {
	for _, p := range r.processes {
		if p != nil {
			p.end()
		}
	}
	if r.outages != nil {
		r.outages.stop()
	}
}
