//go:build unix && !noserver

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/dial"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/shoptest"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/scripttest"
	"example.com/coffee/lab/simulation"
)

// shop is a server in virtual time, with a client, a ledger, and the workers that the test
// starts.
type shop struct {
	*simulation.World
	*shoptest.Shop
	stops []func()
}

// inVirtualTime opens a shop in virtual time and runs f there. The client's connection has
// the dial options; skipTime lets the server skip time. The context has a deadline.
func inVirtualTime(t *testing.T, skipTime bool, f func(ctx context.Context, s *shop), options ...grpc.DialOption) {
	t.Helper()
	dir := t.TempDir()
	simulation.Run(func() {
		done := make(chan struct{})
		go func() { // which t.Fatal can end, and not the bubble
			defer close(done)
			s := &shop{
				World: simulation.New(1, dir, func(o *devserver.Options) { o.TimeSkipping = skipTime }),
				Shop:  &shoptest.Shop{T: t, Namespace: client.DefaultNamespace, Book: filepath.Join(dir, "ledger.db")},
			}
			defer s.close()
			ctx, cancel := context.WithTimeout(context.Background(), scripttest.Patience)
			defer cancel()
			s.open(ctx, options)
			f(ctx, s)
		}()
		<-done
	})
}

func (s *shop) open(ctx context.Context, options []grpc.DialOption) {
	if err := s.Start(ctx); err != nil {
		s.T.Fatal(err)
	}
	s.Conn = s.dial(ctx, s.Node("client"), options)
	s.stops = append(s.stops, s.Conn.Close)
	s.Orders = desk.NewClient(s.Conn, client.DefaultNamespace)
	var err error
	if s.Ledger, err = ledger.Open(ctx, s.Book); err != nil {
		s.T.Fatal(err)
	}
	s.stops = append(s.stops, func() { s.Ledger.Close() })
}

// close stops everything, the latest first.
func (s *shop) close() {
	for i := len(s.stops) - 1; i >= 0; i-- {
		s.stops[i]()
	}
	if err := s.Stop(); err != nil {
		s.T.Error(err)
	}
}

func (s *shop) dial(ctx context.Context, node *simulation.Node, more []grpc.DialOption) client.Client {
	options := client.Options{Logger: dial.NewLogger(zerolog.Nop()), WorkerHeartbeatInterval: desk.HeartbeatInterval}
	options.ConnectionOptions.DialOptions = append([]grpc.DialOption{dial.Guarded()}, more...)
	conn, err := node.Dial(ctx, options)
	if err != nil {
		s.T.Fatal(err)
	}
	return conn
}

// work starts a worker on a node of its own. Its services take no time and never fail, and
// it writes to the shop's ledger, unless the options say otherwise.
func (s *shop) work(options coffee.WorkerOptions) (stop func()) {
	return s.workOn(s.Node(fmt.Sprint("worker ", len(s.stops))), options)
}

// workOn starts a worker on a node. It stops when the node is killed, at the latest.
func (s *shop) workOn(node *simulation.Node, options coffee.WorkerOptions, more ...grpc.DialOption) (stop func()) {
	conn := s.dial(node.Life(), node, more)
	work := s.Work(node.Life(), conn, options)
	stop = sync.OnceFunc(func() {
		work()
		conn.Close()
	})
	s.stops = append(s.stops, stop)
	return stop
}

// wantRefunded waits for an order of a latte, which has to be cancelled after its charge.
func (s *shop) wantRefunded(ctx context.Context, id string) {
	s.T.Helper()
	s.WantResult(ctx, coffee.OrderResult{OrderID: id, Status: coffee.StatusCancelled, Charged: true, Refunded: true, AmountCents: 525})
}
