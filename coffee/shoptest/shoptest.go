// Package shoptest has what the tests of orders share, whether their server keeps the time of
// the wall clock or virtual time.
package shoptest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/dial"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/internal/sleep"
	"example.com/coffee/timeline"
)

// Shop is a namespace of a server with its ledger. Its methods end the test if they fail.
type Shop struct {
	T         *testing.T
	Conn      client.Client
	Namespace string
	Orders    *desk.Client
	Ledger    ledger.Store
	Book      string // the ledger's file, or its URL
	Log       zerolog.Logger
}

// Work starts a worker on a connection. It writes to the shop's ledger, unless the options have
// their own, and stops when the context ends, at the latest; stop returns when it has.
func (s *Shop) Work(ctx context.Context, conn client.Client, options coffee.WorkerOptions) (stop func()) {
	s.T.Helper()
	if options.Ledger == nil {
		options.Ledger = s.Ledger
	}
	ctx, cancel := context.WithCancel(ctx)
	if err := ledger.Claim(ctx, s.Orders.Client, s.Ledger, false, s.Log); err != nil {
		s.T.Fatal(err)
	}
	var index desk.IndexWatch
	if err := index.Ensure(ctx, conn, s.Namespace); err != nil {
		s.T.Log(err)
	}
	options.Index = index.Index
	options.Interceptors = append(options.Interceptors, dial.PlainErrors(), timeline.Recorder(coffee.ActivityBrewCoffee))
	w, err := coffee.NewWorker(conn, options)
	if err != nil {
		s.T.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { index.Run(ctx, conn, s.Namespace) })
	running.Go(func() {
		if err := w.Run(ctx); err != nil {
			s.T.Error(err)
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
}

// Place places a latte of size M.
func (s *Shop) Place(ctx context.Context, id string) {
	s.T.Helper()
	if _, err := s.Orders.Place(ctx, coffee.OrderRequest{OrderID: id, Drink: "latte", Size: coffee.SizeM}); err != nil {
		s.T.Fatal(err)
	}
}

// Await polls an order until it is ready.
func (s *Shop) Await(ctx context.Context, id string, ready func(desk.OrderView) bool) {
	s.T.Helper()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 160*time.Millisecond) {
		view, err := s.Orders.Describe(ctx, id)
		if err != nil {
			s.T.Fatal(err)
		}
		if ready(view) {
			return
		}
		if !sleep.For(ctx, pause) {
			s.T.Fatalf("order %s got no further than %+v", id, view)
		}
	}
}

// WantCompleted waits for an order to be completed at a price.
func (s *Shop) WantCompleted(ctx context.Context, id string, amount coffee.Cents) {
	s.T.Helper()
	s.WantResult(ctx, coffee.OrderResult{OrderID: id, Status: coffee.StatusCompleted, Charged: true, Brewed: true, ReceiptSent: true, AmountCents: amount})
}

// WantResult waits for the result of an order.
func (s *Shop) WantResult(ctx context.Context, want coffee.OrderResult) {
	s.T.Helper()
	if got, err := s.Orders.Result(ctx, want.OrderID); err != nil || got != want {
		s.T.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

// Kinds returns the kinds of an order's entries in the ledger.
func (s *Shop) Kinds(ctx context.Context, id string) string {
	s.T.Helper()
	entries, err := s.Ledger.Entries(ctx, id)
	if err != nil {
		s.T.Fatal(err)
	}
	kinds := []coffee.EntryKind{}
	for _, entry := range entries {
		kinds = append(kinds, entry.Kind)
	}
	return fmt.Sprint(kinds)
}

// Audit audits the orders against the ledger in a file.
func (s *Shop) Audit(ctx context.Context, file string, options audit.Options) *audit.Report {
	s.T.Helper()
	book, err := audit.OpenBook(ctx, file)
	if err != nil {
		s.T.Fatal(err)
	}
	defer book.Close()
	options.Client, options.Namespace, options.Book = s.Conn, s.Namespace, book
	report, err := audit.Run(ctx, options)
	if err != nil {
		s.T.Fatal(err)
	}
	return report
}

// WantNoBreach runs the auditor, which must not find a breach.
func (s *Shop) WantNoBreach(ctx context.Context) {
	s.T.Helper()
	for _, breach := range s.Audit(ctx, s.Book, audit.Options{}).Breaches {
		s.T.Errorf("breach of rule %d by order %q: %s\n%s", breach.Rule, breach.OrderID, breach.Problem, strings.Join(breach.Evidence, "\n"))
	}
}
