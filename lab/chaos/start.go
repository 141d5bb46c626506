//go:build unix

package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/child"
	"example.com/coffee/internal/release"
)

// start starts the processes.
func (r *run) start(ctx context.Context) error {
	start := r.startServer
	if r.Cluster != nil {
		start = r.useCluster
	}
	if err := start(ctx); err != nil {
		return err
	}
	buildID := ""
	if r.has(carryOver) {
		buildID = firstRelease
	}
	if err := errors.Join(r.startWorker(worker1, buildID), r.startWorker(worker2, buildID)); err != nil {
		return err
	}
	if r.has(carryOver) {
		if err := r.setCurrent(ctx, firstRelease); err != nil {
			return err
		}
	}
	client := &process{name: "client", program: "lab", once: true}
	if err := r.startWired(theClient, client, "client", "--journal", r.Dir, "--orders", fmt.Sprint(r.Orders), "--seed", fmt.Sprint(r.Seed)); err != nil {
		return err
	}
	if err := r.startBoard(ctx); err != nil {
		return err
	}
	r.say("two workers, a client and an order board are running")
	return nil
}

// startServer starts a server of the run's own.
func (r *run) startServer(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	r.server = fmt.Sprintf("127.0.0.1:%d", port)
	r.ledger = cmp.Or(r.Ledger, r.path("ledger.db"))
	env, err := child.Environment(r.Dir)
	if err != nil {
		return err
	}
	r.env = append(env, "COFFEE_LEDGER="+r.ledger)
	if r.has(power) {
		if err := os.Mkdir(r.path(recordings), 0o700); err != nil {
			return err
		}
	}
	if err := r.startProcess(theServer, &process{name: "server", giveUp: 10}, "server", "--port", fmt.Sprint(port), "--headless", "--db-filename", r.path(database)); err != nil {
		return err
	}
	if err := r.waitForServer(ctx); err != nil { // the others would only complain until it is up
		return err
	}
	r.outages = watchOutages(r.server)
	return nil
}

// injection returns the environment of a process that injects faults into itself: those
// of the run, those that it always has, and others.
func (r *run) injection(p *process, faults ...string) []string {
	faults = append(faults, p.faults...)
	if r.has(power) {
		faults = append(faults, "record="+r.path(recordings))
	}
	if r.noRefunds.Load() {
		faults = append(faults, "refunds=none")
	}
	return []string{InjectVariable + "=" + strings.Join(faults, ",")}
}

// useCluster checks that the cluster answers, and has no orders of the seed.
func (r *run) useCluster(ctx context.Context) error {
	r.server, r.namespace, r.ledger = r.Cluster.Address, r.Cluster.Namespace, r.Ledger
	r.env = append(os.Environ(), "COFFEE_LEDGER="+r.ledger) // there may be a password in it
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = desk.NewClient(conn, r.namespace).Describe(ctx, planOrder(r.Seed, 0).request.OrderID)
	if err == nil {
		return fmt.Errorf("the orders of seed %d are there already: use another --seed, or another namespace", r.Seed)
	}
	if errors.Is(err, coffee.ErrNotFound) {
		return nil
	}
	return err
}

// database is the name of the server's database.
const database = "server.db"

// startProcess starts one of the processes.
func (r *run) startProcess(which int, p *process, args ...string) error {
	p.args, p.env, p.log = args, slices.Concat(r.env, r.injection(p)), r.path(strings.ReplaceAll(p.name, " ", "-")+".log")
	if p.program == "" {
		p.args = append([]string{"--log-format", "text"}, args...)
	}
	if err := p.start(); err != nil {
		return err
	}
	r.processes[which] = p
	return nil
}

// startWired starts a process that is connected to the server.
func (r *run) startWired(which int, p *process, args ...string) error {
	address := r.server
	if r.has(network) {
		w, err := newWire(r.server)
		if err != nil {
			return err
		}
		r.wires[which], address = w, w.address()
	}
	args = slices.Concat(args, r.Flags, []string{"--address", address})
	if r.Cluster != nil && r.Cluster.ServerName != "" {
		args = append(args, "--tls-server-name", r.Cluster.ServerName)
	}
	return r.startProcess(which, p, args...)
}

// startWorker starts a worker of a release; of none if the build id is empty.
func (r *run) startWorker(which int, buildID string) error {
	p := &process{name: fmt.Sprintf("worker %d", which-worker1+1), buildID: buildID, faults: []string{fmt.Sprintf("late=%d", r.Seed)}}
	args := []string{"worker", "--charge-time", "500ms", "--brew-time", "700ms", "--receipt-time", "150ms", "--seed", fmt.Sprint(r.Seed)}
	if buildID != "" {
		args = append(args, "--build-id", buildID)
	}
	if buildID == nextRelease {
		p.faults = append(p.faults, "release="+release.Patched)
	}
	return r.startWired(which, p, args...)
}

// workers returns the workers that have been started.
func (r *run) workers() (started []int) {
	for i, p := range r.processes {
		if isWorker(i) && p != nil {
			started = append(started, i)
		}
	}
	return started
}

// freePort returns a free port that stays free while its server is down. The other
// processes open many connections then, but the port is outside the range that the
// system uses for outgoing connections.
func freePort() (int, error) {
	listener, err := listen(20_000, 10_000)
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

// listen listens on one of n ports.
func listen(from, n int) (listener net.Listener, err error) {
	for range 100 {
		if listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", from+rand.IntN(n))); err == nil {
			return listener, nil
		}
	}
	return nil, err
}
