//go:build unix && !noserver

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/dial"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/timeline"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/scripttest"
	"example.com/coffee/internal/sleep"
	"example.com/coffee/lab/simulation"
)

// shop is a server in virtual time, with a client, a ledger, and the workers that the test
// starts.
type shop struct {
	*simulation.World
	t      *testing.T
	conn   client.Client
	orders *desk.Client
	ledger ledger.Store
	book   string // the ledger's file
	stops  []func()
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
			s := &shop{t: t, book: filepath.Join(dir, "ledger.db")}
			s.World = simulation.New(1, dir, func(o *devserver.Options) { o.TimeSkipping = skipTime })
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
		s.t.Fatal(err)
	}
	s.conn = s.dial(ctx, s.Node("client"), options)
	s.stops = append(s.stops, s.conn.Close)
	s.orders = desk.NewClient(s.conn, client.DefaultNamespace)
	var err error
	if s.ledger, err = ledger.Open(ctx, s.book); err != nil {
		s.t.Fatal(err)
	}
	s.stops = append(s.stops, func() { s.ledger.Close() })
}

// close stops everything, the latest first.
func (s *shop) close() {
	for i := len(s.stops) - 1; i >= 0; i-- {
		s.stops[i]()
	}
	if err := s.Stop(); err != nil {
		s.t.Error(err)
	}
}

func (s *shop) dial(ctx context.Context, node *simulation.Node, more []grpc.DialOption) client.Client {
	options := client.Options{Logger: dial.NewLogger(zerolog.Nop()), WorkerHeartbeatInterval: desk.HeartbeatInterval}
	options.ConnectionOptions.DialOptions = append([]grpc.DialOption{dial.Guarded()}, more...)
	conn, err := node.Dial(ctx, options)
	if err != nil {
		s.t.Fatal(err)
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
	ctx, cancel := context.WithCancel(node.Life())
	conn := s.dial(ctx, node, more)
	if options.Ledger == nil {
		options.Ledger = s.ledger
	}
	if err := ledger.Claim(ctx, s.orders.Client, s.ledger, false, zerolog.Nop()); err != nil {
		s.t.Fatal(err)
	}
	var index desk.IndexWatch
	if err := index.Ensure(ctx, conn, client.DefaultNamespace); err != nil {
		s.t.Log(err)
	}
	options.Index = index.Index
	options.Interceptors = append(options.Interceptors, dial.PlainErrors(), timeline.Recorder())
	w, err := coffee.NewWorker(conn, options)
	if err != nil {
		s.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { index.Run(ctx, conn, client.DefaultNamespace) })
	running.Go(func() {
		if err := w.Run(ctx); err != nil {
			s.t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		conn.Close()
	})
	s.stops = append(s.stops, stop)
	return stop
}

// place places a latte of size M.
func (s *shop) place(ctx context.Context, id string) {
	s.t.Helper()
	if _, err := s.orders.Place(ctx, coffee.OrderRequest{OrderID: id, Drink: "latte", Size: coffee.SizeM}); err != nil {
		s.t.Fatal(err)
	}
}

// await polls an order until it is ready.
func (s *shop) await(ctx context.Context, id string, ready func(desk.OrderView) bool) {
	s.t.Helper()
	for {
		view, err := s.orders.Describe(ctx, id)
		if err != nil {
			s.t.Fatal(err)
		}
		if ready(view) {
			return
		}
		if !sleep.For(ctx, 20*time.Millisecond) {
			s.t.Fatalf("order %s got no further than %+v", id, view)
		}
	}
}

// wantCompleted waits for an order of a latte, which has to go well.
func (s *shop) wantCompleted(ctx context.Context, id string) {
	s.t.Helper()
	s.wantResult(ctx, coffee.OrderResult{OrderID: id, Status: coffee.StatusCompleted, Charged: true, Brewed: true, ReceiptSent: true, AmountCents: 525})
}

// wantRefunded waits for an order of a latte, which has to be cancelled after its charge.
func (s *shop) wantRefunded(ctx context.Context, id string) {
	s.t.Helper()
	s.wantResult(ctx, coffee.OrderResult{OrderID: id, Status: coffee.StatusCancelled, Charged: true, Refunded: true, AmountCents: 525})
}

func (s *shop) wantResult(ctx context.Context, want coffee.OrderResult) {
	s.t.Helper()
	if got, err := s.orders.Result(ctx, want.OrderID); err != nil || got != want {
		s.t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

// kinds returns the kinds of an order's entries in the ledger.
func (s *shop) kinds(ctx context.Context, id string) string {
	s.t.Helper()
	entries, err := s.ledger.Entries(ctx, id)
	if err != nil {
		s.t.Fatal(err)
	}
	kinds := []coffee.EntryKind{}
	for _, entry := range entries {
		kinds = append(kinds, entry.Kind)
	}
	return fmt.Sprint(kinds)
}

// wantNoBreach runs the auditor, which must not find a breach.
func (s *shop) wantNoBreach(ctx context.Context) {
	s.t.Helper()
	book, err := audit.OpenBook(ctx, s.book)
	if err != nil {
		s.t.Fatal(err)
	}
	defer book.Close()
	report, err := audit.Run(ctx, audit.Options{Client: s.conn, Namespace: client.DefaultNamespace, Book: book})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, breach := range report.Breaches {
		s.t.Errorf("breach of rule %d by order %q: %s\n%s", breach.Rule, breach.OrderID, breach.Problem, strings.Join(breach.Evidence, "\n"))
	}
}
