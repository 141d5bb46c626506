//go:build unix && !noserver

package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/coffee/dial"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/internal/exit"
	"example.com/coffee/lab/chaos/operations"
	"example.com/coffee/lab/inject"
	"example.com/coffee/lab/simulation"
)

// SimulatedFaults are those that a run in virtual time can inject.
var SimulatedFaults = []string{"kill", "freeze", "network", "storage", "clock", "operator", "forever"}

// Simulated is what came of a run in virtual time.
type Simulated struct {
	*Report
	// Hits counts what the faults have hit.
	Hits map[string]int
	// Trace is a hash of what has happened, and when, in all orders.
	Trace string
	// Pairs counts how many orders were at a step when there was a fault.
	Pairs map[Pair]int
	// Story tells of the orders about which a judge has found something.
	Story []string
}

// Simulate makes a run in virtual time. Dir is where its databases are, Faults are some of
// [SimulatedFaults], and there is no Cluster.
func Simulate(options Options) (result *Simulated, err error) {
	w := &world{}
	simulation.Run(func() { result, err = w.simulate(options) })
	for _, a := range w.actors { // an activity may outlive its worker, but not the bubble
		if a != nil {
			err = errors.Join(err, a.log.Close())
		}
	}
	return result, err
}

// world is what a run has in virtual time in place of processes.
type world struct {
	*run
	*simulation.World
	office *simulation.Node // from which orders are looked at, and operators act
	actors [processCount]*actor
	ticks  atomic.Int64 // the clock of the journals
}

func (w *world) simulate(options Options) (_ *Simulated, err error) {
	ctx := context.Background()
	options.Ledger = filepath.Join(options.Dir, "ledger.db")
	w.run = &run{Options: options, ledger: options.Ledger, began: time.Now(), namespace: client.DefaultNamespace, touched: map[string][]operations.Kind{}, outages: &outages{}, world: w}
	w.World = simulation.New(options.Seed, options.Dir, nil)
	w.office = w.Node("office")
	w.Connect = func(ctx context.Context, _ string) (client.Client, error) { return w.dial(ctx, w.office) }
	w.reader = operations.NewReader(w.path(journalName))
	if w.journal, err = operations.OpenJournal(w.path(journalName), w.now); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.journal.Close()) }()
	if err := w.Start(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Stop()) }()
	defer w.End()
	w.processes[theServer] = &process{name: "server", done: make(chan struct{})}
	for _, which := range []int{worker1, worker2} {
		if err := w.play(which, fmt.Sprintf("worker %d", which-worker1+1), w.work); err != nil {
			return nil, err
		}
	}
	if err := w.play(theClient, "client", w.buy); err != nil {
		return nil, err
	}

	if err := w.injectAll(ctx); err != nil {
		return nil, err
	}
	if err := w.lasting.Wait(); err != nil {
		return nil, err
	}
	if err := w.waitForEnd(ctx); err != nil {
		return nil, err
	}
	w.End()
	report, err := w.report(ctx)
	if err != nil {
		return nil, err
	}
	for i, p := range w.processes {
		if p != nil {
			w.reportCrashes(i)
		}
	}
	report.Incidents = append(report.Incidents, w.incidents...)
	report.Seconds = time.Since(w.began).Seconds()
	result := &Simulated{Report: report, Hits: w.Hits(), Pairs: map[Pair]int{}}
	return result, w.tell(ctx, result)
}

// now is a clock of the journals. It never says the same twice, so that what happens at the
// same instant has an order.
func (w *world) now() int64 {
	for {
		last := w.ticks.Load()
		now := max(time.Now().UnixNano(), last+1)
		if w.ticks.CompareAndSwap(last, now) {
			return now
		}
	}
}

func (w *world) dial(ctx context.Context, node *simulation.Node, more ...grpc.DialOption) (client.Client, error) {
	options := client.Options{Namespace: w.namespace, Logger: dial.NewLogger(zerolog.Nop())}
	options.ConnectionOptions.DialOptions = slices.Concat([]grpc.DialOption{dial.Guarded()}, more)
	return node.Dial(ctx, options)
}

// actor is a worker or the client. It starts again whenever it ends.
type actor struct {
	which    int
	process  *process // its place in the records of the run
	log      *os.File // of the process
	charging atomic.Int64

	mu       sync.Mutex
	node     *simulation.Node // nil while it is down
	downtime time.Duration
	gone     bool
	network  simulation.Network
	storage  func() inject.Fault // nil if its ledger works
	clock    func() time.Time    // nil if its clock is right
}

// play lets an actor live until the world ends, or run has returned nil.
func (w *world) play(which int, name string, run func(context.Context, *actor, *simulation.Node) error) error {
	a := &actor{which: which, process: &process{name: name, log: w.path(strings.ReplaceAll(name, " ", "-") + ".log")}}
	w.actors[which], w.processes[which] = a, a.process
	var err error
	if a.log, err = os.Create(a.process.log); err != nil {
		return err
	}
	a.process.done = w.Keep(name, func(ctx context.Context, node *simulation.Node) error {
		a.begin(node)
		return run(ctx, a, node)
	}, a.end)
	return nil
}

// begin begins another life of an actor, under a process id of its own.
func (a *actor) begin(node *simulation.Node) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.node, a.downtime = node, restartPause
	a.charging.Store(0)
	node.Disturb(a.network)
	a.process.pids = append(a.process.pids, 10*(len(a.process.pids)+1)+a.which)
}

// end ends a life, with the error if the actor has ended by itself. It returns how long it is
// down; less than 0 means for good.
func (a *actor) end(err error) (downtime time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.node = nil
	switch {
	case a.gone:
		return -1
	case err != nil:
		a.process.exits = append(a.process.exits, crash{time.Now(), exit.Failure, fmt.Sprintf("the %s ended by itself: %v", a.process.name, err)})
		return restartPause
	}
	return a.downtime
}

// buy is the client.
func (w *world) buy(ctx context.Context, _ *actor, node *simulation.Node) error {
	conn, err := w.dial(ctx, node, w.Client...)
	if err != nil {
		return err
	}
	defer conn.Close()
	return runClient(ctx, conn, w.namespace, w.Dir, w.Seed, w.Orders, w.now)
}

// work is a worker.
func (w *world) work(ctx context.Context, a *actor, node *simulation.Node) error {
	a.mu.Lock()
	pid := a.process.pids[len(a.process.pids)-1]
	a.mu.Unlock()
	conn, err := node.Dial(ctx, client.Options{Namespace: w.namespace, Identity: fmt.Sprintf("%d@%s", pid, a.process.name), Logger: dial.NewLogger(zerolog.Nop())})
	if err != nil {
		return err
	}
	defer conn.Close()
	store, err := ledger.Open(ctx, w.ledger, ledger.Wrapped(inject.Faulty(a.fault)), ledger.Clock(a.now))
	if err != nil {
		return err
	}
	defer store.Close()
	if err := ledger.Claim(ctx, coffee.NewClient(conn, w.namespace), store, false, zerolog.Nop()); err != nil {
		return err
	}
	services := coffee.DefaultServiceConfig()
	services.ChargeTime, services.BrewTime, services.ReceiptTime, services.Seed = 500*time.Millisecond, 700*time.Millisecond, 150*time.Millisecond, w.Seed
	options := coffee.WorkerOptions{Services: services, Log: zerolog.New(zerolog.SyncWriter(a.log)), Ledger: store}
	inject.RefuseRefunds(&options, w.noRefunds.Load)
	inject.ChargeLate(&options, w.Seed)
	if w.Worker != nil {
		w.Worker(&options)
	}
	options.Ledger = &held{options.Ledger, node} // outside of everything: a freeze may come before it
	options.Interceptors = append(options.Interceptors, a.counting())
	worker, err := coffee.NewWorker(conn, options)
	if err != nil {
		return err
	}
	return cmp.Or(worker.Run(ctx), ctx.Err()) // a worker that was asked to stop is no client that has done its work
}

// command does what an operator asks of the program coffee.
func (w *world) command(ctx context.Context, args ...string) ([]byte, error) {
	if !slices.Equal(args[:2], []string{"audit", "--repair"}) {
		return nil, fmt.Errorf("there is no coffee %s in virtual time", args[0])
	}
	conn, err := w.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	store, err := ledger.Open(ctx, w.ledger)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	book, err := audit.OpenBook(ctx, w.ledger)
	if err != nil {
		return nil, err
	}
	defer book.Close()
	report, err := audit.Run(ctx, audit.Options{Client: conn, Namespace: w.namespace, Book: book, Repair: store})
	if err != nil {
		return nil, err
	}
	return json.Marshal(report)
}
