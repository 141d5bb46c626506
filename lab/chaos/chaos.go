//go:build unix

// Package chaos tests coffee by injecting faults. It runs a server, two workers,
// a client and an order board, each in a process of its own, does harm to them while
// orders are in progress, and audits the orders at the end. In place of its own server it
// can use a cluster that is there.
//
// plan.go derives the orders from the seed, and schedule.go the faults. start.go starts
// the processes, process.go keeps them alive, client.go is the client, and page.go an
// open page of the board. faults.go injects the faults, with network.go, power.go,
// operator.go, backup.go, rollout.go and forever.go. shrink.go makes a run that fails
// small. end.go waits until all orders have ended. history.go reads what became of them,
// evidence.go, verdict.go and report.go judge and report it, and package operations judges
// what the clients were told.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/internal/exit"
	"example.com/coffee/lab/chaos/operations"
	"example.com/coffee/lab/powerfailure"
)

// Options say what a run does.
type Options struct {
	// Seed decides what is ordered, and which faults are injected and when.
	Seed uint64
	// Orders is how many orders are placed, 1 or more, and Kills how often a
	// process is killed, 0 or more.
	Orders, Kills int
	// Only, unless nil, are the numbers of the faults to inject, counted from 0 in the
	// seed's schedule; see [Schedule].
	Only []int
	// Patience is how long orders may take after the last fault; 0 means as long as their
	// timeouts and pauses allow.
	Patience time.Duration
	// Dir is the directory to work in, which must exist and be empty.
	Dir string
	// Faults are the kinds of faults to inject, some of [Faults].
	Faults []string
	// Flags are the program's. Clients and workers get them; with a Cluster they name
	// it.
	Flags []string
	// Ledger is the path or URL of the ledger; empty means a file of the run's own, which
	// it needs to make power failures of it and to go back to a backup.
	Ledger string
	// Cluster, unless nil, is the server to use. The run then starts none.
	Cluster *Cluster
	// Connect connects to the server at an address; with a Cluster, to that.
	Connect func(ctx context.Context, address string) (client.Client, error)
	// Worker, unless nil, changes the options of the workers, and Client are further options
	// for the connection of the client; both in virtual time only.
	Worker func(*coffee.WorkerOptions)
	Client []grpc.DialOption
	// Say is called with a line of text whenever something happens.
	Say func(line string)
}

// Cluster is a Temporal server that the run has not started.
type Cluster struct {
	// Address is where it is, and ServerName, unless empty, what its certificate has to
	// name.
	Address, ServerName string
	// Namespace is where the orders are placed. The audit judges all that are there.
	Namespace string
	// Strike, unless empty, is a command for a shell that does harm to the cluster, in
	// place of the kills of the server. Without it, those hit the workers.
	Strike string
}

// InjectVariable is the environment variable by which a run has its processes inject
// faults into themselves: a list, with commas in between, of late=SEED, storage=SEED,
// clock=SEED, refunds=none, release=NAME, and record=DIR for the recordings that power
// failures are made from. The processes are this program again; coffee does not read it.
const InjectVariable = "LAB_FAULTS"

// run is one run.
type run struct {
	Options
	server    string // its address
	namespace string
	ledger    string
	env       []string // of the processes

	processes [processCount]*process
	wires     [processCount]*wire // between each process and the server, if there are network faults
	began     time.Time
	injected  []injectedFault
	restarts  []injectedFault // of workers, because of a fault that stays
	incidents []string
	outages   *outages
	excuses   []excuse
	freezeBy  time.Time // until then a freeze waits for a charge
	journal   *operations.Journal
	reader    *operations.Reader
	// lasting are faults that overlap with others, and strikes are those at the cluster,
	// one at a time.
	lasting, strikes errgroup.Group
	watching         sync.WaitGroup // goroutines that live as long as the run
	rollouts         int            // that were confirmed
	rolledOut        chan struct{}  // closed when the latest rollout is over; nil if there was none
	wanted           string         // the release of that; empty if there was none
	saying           sync.Mutex
	touched          touched
	breaches         []audit.Breach // that earlier audits have found
	page             page           // of the order board
	backup           *backup        // nil until the first one
	undoing          atomic.Int64   // how many actions of operators are still to be taken back
	// lost is the worker that is never restarted; theServer if there is none. noRefunds is true
	// while the ledger takes no refunds.
	lost      int
	noRefunds atomic.Bool
	losses    powerfailure.Loss
	// world, unless nil, does in virtual time what otherwise is done to processes.
	world interface {
		inject(ctx context.Context, f fault) (done bool, err error)
		command(ctx context.Context, args ...string) ([]byte, error)
	}
}

// Run starts the processes, injects the faults, waits until all orders have ended,
// and audits. When it returns, no process is left.
func Run(ctx context.Context, options Options) (_ *Report, err error) {
	r := &run{Options: options, began: time.Now(), namespace: client.DefaultNamespace, touched: touched{}}
	r.strikes.SetLimit(1)
	r.reader = operations.NewReader(r.path(journalName))
	if r.journal, err = operations.OpenJournal(r.path(journalName), powerfailure.Now); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		r.killAll()
		_, _ = r.strikes.Wait(), r.lasting.Wait() // they are known, or the run has failed
		r.watching.Wait()
		err = errors.Join(err, r.journal.Close())
	}()
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	if err := r.injectAll(ctx); err != nil {
		return nil, err
	}
	if err := errors.Join(r.strikes.Wait(), r.lasting.Wait()); err != nil {
		return nil, err
	}
	if err := r.waitForEnd(ctx); err != nil {
		return nil, err
	}
	if err := r.checkBoard(ctx); err != nil {
		return nil, err
	}
	r.say("stopping the client, the board and the workers, auditing")
	r.stop(append([]int{theClient, theBoard}, r.workers()...)...)
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

// has reports whether a kind of fault is among those to inject.
func (r *run) has(k kind) bool { return slices.Contains(r.Faults, k.group()) }

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
	for {
		conn, err := r.connect(ctx)
		if err == nil {
			conn.Close()
			return nil
		}
		select {
		case <-r.serverGone():
			return r.processes[theServer].failure()
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// answers reports whether the server answers. One that is being started, or carries its
// database over, does not.
func (r *run) answers(ctx context.Context) bool {
	conn, err := r.connect(ctx)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// serverGone returns a channel that is closed when the server is not restarted any more;
// nil in a cluster.
func (r *run) serverGone() <-chan struct{} {
	if r.Cluster != nil {
		return nil
	}
	return r.processes[theServer].done
}

func (r *run) connect(ctx context.Context) (client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return r.Connect(ctx, r.server)
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
		r.reportCrashes(i)
	}
}

// reportCrashes records as incidents when a process has ended by itself without an excuse.
func (r *run) reportCrashes(process int) {
	for _, crash := range r.processes[process].exits {
		// A process that cannot reach the server, or its database, may end with
		// exit.Failure. It is restarted.
		if crash.code != exit.Failure || !r.isExcused(process, crash.ended) {
			r.incidents = append(r.incidents, crash.what)
		}
	}
}

// killAll leaves no process behind, however the run ended.
func (r *run) killAll() {
	for _, p := range r.processes {
		if p != nil {
			p.end()
		}
	}
	for _, w := range r.wires {
		if w != nil {
			w.close()
		}
	}
	if r.outages != nil {
		r.outages.stop()
	}
}
