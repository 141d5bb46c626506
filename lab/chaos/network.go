//go:build unix

package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"example.com/coffee/internal/sleep"
)

// disturbance is what a network does wrong. The zero value is a network that works.
type disturbance struct {
	name string
	// refuse cuts all connections, and closes new ones at once.
	refuse bool
	// reset resets a connection when a reply should arrive on it.
	reset bool
	// noRequests and noReplies let nothing through in that direction, and keep the
	// connections open.
	noRequests, noReplies bool
	// delay is how long each part of a request or reply takes longer.
	delay time.Duration
	// limit is how many bytes of replies arrive on a connection before it is cut; 0
	// means all.
	limit int
	// resumes means that what was held up arrives in the end. Otherwise it is lost, with
	// the connections.
	resumes bool
}

var disturbances = []disturbance{
	{name: "cut", refuse: true},
	{name: "reset", reset: true},
	{name: "slow", delay: 300 * time.Millisecond, resumes: true},
	{name: "half open", noRequests: true, noReplies: true},
	{name: "no requests", noRequests: true, resumes: true},
	{name: "no replies", noReplies: true, resumes: true},
	{name: "cut replies", limit: 700},
}

// wire is what connects a process to the server: a proxy for each address of it.
type wire struct {
	listeners []net.Listener

	mu      sync.Mutex
	conns   map[net.Conn]bool
	now     disturbance
	changed chan struct{} // closed when now changes
	busy    bool          // while it is disturbed
}

// newWire begins to listen for a process.
func newWire(addresses string) (*wire, error) {
	w := &wire{conns: map[net.Conn]bool{}, changed: make(chan struct{})}
	for _, address := range strings.Split(addresses, ",") {
		listener, err := listen(30_000, 2_000) // not where another run has its server, which may be down
		if err != nil {
			w.close()
			return nil, err
		}
		w.listeners = append(w.listeners, listener)
		go w.serve(listener, address)
	}
	return w, nil
}

// address is where the process finds the server.
func (w *wire) address() string {
	var addresses []string
	for _, listener := range w.listeners {
		addresses = append(addresses, listener.Addr().String())
	}
	return strings.Join(addresses, ",")
}

// close cuts all connections for good.
func (w *wire) close() {
	for _, listener := range w.listeners {
		listener.Close()
	}
	w.disturb(disturbance{refuse: true})
}

// begin begins to disturb the wire, unless it is disturbed already.
func (w *wire) begin(d disturbance) bool {
	w.mu.Lock()
	busy := w.busy
	w.busy = true
	w.mu.Unlock()
	if !busy {
		w.disturb(d)
	}
	return !busy
}

// end ends the disturbance.
func (w *wire) end() {
	w.mu.Lock()
	resumes := w.now.resumes
	w.mu.Unlock()
	if !resumes {
		w.disturb(disturbance{refuse: true})
	}
	w.disturb(disturbance{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = false
}

func (w *wire) disturb(d disturbance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = d
	close(w.changed)
	w.changed = make(chan struct{})
	if d.refuse {
		for conn := range w.conns {
			cut(conn)
		}
	}
}

// cut closes a connection, and loses what is on its way.
func cut(conn net.Conn) {
	conn.(*net.TCPConn).SetLinger(0) // if it fails the connection is closed in another way
	conn.Close()
}

// serve connects the process to the server, until the listener is closed.
func (w *wire) serve(listener net.Listener, address string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			server, err := net.Dial("tcp", address)
			if err != nil {
				cut(client)
				return
			}
			if !w.add(client, server) {
				cut(client)
				cut(server)
				return
			}
			var pumps sync.WaitGroup
			pumps.Go(func() { w.pump(server, client, false) })
			pumps.Go(func() { w.pump(client, server, true) })
			pumps.Wait()
			w.remove(client, server)
		}()
	}
}

// add reports whether there can be a connection now.
func (w *wire) add(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range conns {
		if !w.now.refuse {
			w.conns[conn] = true
		}
	}
	return !w.now.refuse
}

func (w *wire) remove(conns ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range conns {
		delete(w.conns, conn)
	}
}

// pump copies what arrives in one direction, until either side is closed. Then it closes
// both.
func (w *wire) pump(to, from net.Conn, replies bool) {
	buffer, passed := make([]byte, 32<<10), 0
	for {
		n, err := from.Read(buffer)
		if err == nil {
			err = w.pass(to, buffer[:n], replies, passed)
			passed += n
		}
		if err != nil {
			cutBoth := errors.Is(err, errCut)
			for _, conn := range []net.Conn{to, from} {
				if cutBoth {
					cut(conn)
				} else {
					conn.Close()
				}
			}
			return
		}
	}
}

var errCut = errors.New("the wire was cut")

// pass sends what has arrived, when the network lets it through.
func (w *wire) pass(to net.Conn, data []byte, replies bool, passed int) error {
	for {
		w.mu.Lock()
		d, changed := w.now, w.changed
		w.mu.Unlock()
		switch {
		case d.refuse, d.reset && replies:
			return errCut
		case d.noRequests && !replies, d.noReplies && replies:
			<-changed
			continue
		case d.delay > 0:
			select {
			case <-changed:
			case <-time.After(d.delay):
			}
		case d.limit > 0 && replies && passed+len(data) > d.limit:
			if _, err := to.Write(data[:max(0, d.limit-passed)]); err != nil {
				return err
			}
			return errCut
		}
		_, err := to.Write(data)
		return err
	}
}

// disturb begins to disturb the connections of a process, while other faults are
// injected. It reports whether it has: one disturbance has to end before the next.
func (r *run) disturb(ctx context.Context, f fault) bool {
	f.victim = r.present(f.victim)
	d, w := f.disturbance(), r.wires[f.victim]
	if !w.begin(d) {
		return false
	}
	r.excuse(f.victim, f.pause)
	r.record(f, fmt.Sprintf("%-8s %-8s for %4.1f s: %s", f.kind, r.processes[f.victim].name, f.pause.Seconds(), d.name))
	r.lasting.Go(func() error {
		sleep.For(ctx, f.pause)
		w.end()
		return nil
	})
	return true
}

// disturbance returns what a fault of the network does.
func (f fault) disturbance() disturbance { return disturbances[f.detail%uint64(len(disturbances))] }
