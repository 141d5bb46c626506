//go:build unix

package chaos

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// wire is what connects a process to the server: a proxy for each address of it.
type wire struct {
	proxies []*toxiproxy.Proxy
	busy    atomic.Bool // while it is disturbed
}

// newWire begins to listen for a process.
func newWire(name, addresses string) (*wire, error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	w := &wire{}
	for _, address := range strings.Split(addresses, ",") {
		port, err := freePort()
		if err != nil {
			w.close()
			return nil, err
		}
		proxy := toxiproxy.NewProxy(server, name, fmt.Sprintf("127.0.0.1:%d", port), address)
		if err := proxy.Start(); err != nil {
			w.close()
			return nil, err
		}
		w.proxies = append(w.proxies, proxy)
	}
	return w, nil
}

// address is where the process finds the server.
func (w *wire) address() string {
	var addresses []string
	for _, proxy := range w.proxies {
		addresses = append(addresses, proxy.Listen)
	}
	return strings.Join(addresses, ",")
}

// close cuts all connections, and refuses new ones.
func (w *wire) close() {
	for _, proxy := range w.proxies {
		proxy.Stop()
	}
}

// cut cuts the wire for good. What disturbs it already goes on, and stops with an error.
func (w *wire) cut() {
	w.busy.Store(true)
	w.close()
}

// A disturbance is what a network does wrong. Its toxics are those of Toxiproxy
// (https://github.com/Shopify/toxiproxy); one without any cuts all connections, and
// refuses new ones. A timeout of 0 lets nothing through, and keeps connections open.
type disturbance struct {
	name   string
	toxics []string
}

var disturbances = []disturbance{
	{"cut", nil},
	{"reset", []string{`{"type": "reset_peer", "stream": "downstream", "attributes": {"timeout": 0}}`}},
	{"slow", []string{
		`{"type": "latency", "stream": "upstream", "attributes": {"latency": 300, "jitter": 200}}`,
		`{"type": "slicer", "stream": "downstream", "attributes": {"average_size": 400, "size_variation": 200, "delay": 20000}}`}},
	{"half open", []string{
		`{"type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`,
		`{"type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`}},
	{"no requests", []string{`{"type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`}},
	{"no replies", []string{`{"type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`}},
	{"cut replies", []string{`{"type": "limit_data", "stream": "downstream", "attributes": {"bytes": 700}}`}},
}

// begin begins a disturbance.
func (w *wire) begin(d disturbance) error {
	for _, proxy := range w.proxies {
		if d.toxics == nil {
			proxy.Stop()
		}
		for _, toxic := range d.toxics {
			if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
				return fmt.Errorf("toxic %s: %w", toxic, err)
			}
		}
	}
	return nil
}

// end ends a disturbance.
func (w *wire) end(ctx context.Context, d disturbance) error {
	for _, proxy := range w.proxies {
		if d.toxics == nil {
			if err := proxy.Start(); err != nil {
				return err
			}
		}
		proxy.Toxics.ResetToxics(ctx)
	}
	return nil
}

// disturb begins to disturb the connections of a process, while other faults are
// injected. It reports whether it has: one disturbance has to end before the next.
func (r *run) disturb(ctx context.Context, f fault) (bool, error) {
	if f.victim == r.lost {
		f.victim = partner(f.victim)
	}
	w := r.wires[f.victim]
	if w == nil || w.busy.Swap(true) {
		return false, nil
	}
	d := disturbances[f.detail%uint64(len(disturbances))]
	if err := w.begin(d); err != nil {
		return false, err
	}
	r.excuse(f.victim, f.pause)
	r.record(f, fmt.Sprintf("%-8s %-8s for %4.1f s: %s", f.kind, r.processes[f.victim].name, f.pause.Seconds(), d.name))
	r.lasting.Go(func() error {
		defer w.busy.Store(false)
		sleep(ctx, f.pause)
		return w.end(ctx, d)
	})
	return true, nil
}
