// Package monitor serves the metrics and the health of this process.
package monitor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/telemetry"
	"example.com/coffee/commands/internal/background"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/hostname"
	"example.com/coffee/internal/httpserver"
)

// Flag is the flag that names the address to serve metrics on.
func Flag(category string) cli.Flag {
	return &cli.StringFlag{Name: "metrics-address", Usage: "serve Prometheus metrics, /healthz and /readyz on this `HOST:PORT`", DefaultText: "off", Category: category}
}

// ParseAddress returns the address that the flag names; empty if it names none.
func ParseAddress(c *cli.Context) (string, error) {
	address := c.String("metrics-address")
	if address == "" {
		return "", nil
	}
	if host, port, err := net.SplitHostPort(address); err != nil || port == "" || host != "localhost" && net.ParseIP(host) == nil {
		return "", commandline.Errorf(c, "--metrics-address is %q: use an IP address and a port, such as 127.0.0.1:9100 or 0.0.0.0:9100", address)
	}
	return address, nil
}

// Monitor serves the metrics and the health of this process. A nil one does nothing.
type Monitor struct {
	listener net.Listener
	metrics  *telemetry.Metrics
	polls    *telemetry.Polls

	checks  []func(context.Context) error // which nobody changes once it has started
	started atomic.Bool
}

// Open opens the port, and lets a connection with the options count its requests. It returns nil,
// and changes nothing, if there is no address.
func Open(tasks *background.Tasks, address string, options *connect.Options) (*Monitor, error) {
	if address == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, exit.Hinted(fmt.Errorf("cannot serve metrics: %w", err), terminal.PortHint("--metrics-address", err))
	}
	metrics, err := telemetry.NewMetrics()
	if err != nil {
		return nil, err
	}
	m := &Monitor{listener: listener, metrics: metrics, polls: &telemetry.Polls{}}
	options.MetricsHandler, options.Polls = m.metrics.Handler(), m.polls
	tasks.OnStop(func() error { _ = listener.Close(); return nil }) // if it was not served
	return m, nil
}

// InstrumentWorker makes a worker and its ledger count what they do.
func (m *Monitor) InstrumentWorker(options *coffee.WorkerOptions, ledger ledger.Store) {
	if m == nil {
		return
	}
	m.metrics.Instrument(options)
	log := options.Log
	var unwritable atomic.Bool
	m.Check(m.polls.Check)
	m.Check(func(ctx context.Context) error {
		err := ledger.Ready(ctx)
		was := unwritable.Swap(err != nil)
		if err == nil {
			if was {
				log.Info().Msg("the ledger takes entries again")
			}
			return nil
		}
		if !was {
			log.Warn().Err(err).Msg("not ready: the ledger takes no entries")
		}
		return fmt.Errorf("the ledger takes no entries: %w", err)
	})
}

// Check adds a readiness check, before the process has started.
func (m *Monitor) Check(check func(context.Context) error) {
	if m != nil {
		m.checks = append(m.checks, check)
	}
}

// Started lets the process be ready, if its server and all other checks say so.
func (m *Monitor) Started(conn *connect.Connection) {
	if m == nil {
		return
	}
	m.Check(func(ctx context.Context) error {
		_, err := conn.CheckHealth(ctx, &client.CheckHealthRequest{})
		return err
	})
	m.started.Store(true)
}

// ready returns an error unless the process does its work.
func (m *Monitor) ready(ctx context.Context) error {
	if !m.started.Load() {
		return errors.New("it is starting, and may wait for its server")
	}
	for _, check := range m.checks {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Serve serves metrics and health; the process is not ready before it has started. The
// function, unless nil, returns the TLS configuration for an address.
func (m *Monitor) Serve(tasks *background.Tasks, tlsFor func(ip string) *tls.Config) {
	if m == nil {
		return
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.metrics)
	mux.Handle("/", telemetry.Health(m.ready))
	listener := m.listener
	ip := listener.Addr().(*net.TCPAddr).IP.String()
	if tlsFor != nil {
		listener = background.WithTLS(listener, tlsFor(ip))
	}
	tasks.Serve("metrics server", listener, httpserver.New(hostname.Guard(ip, nil, mux)))
}
