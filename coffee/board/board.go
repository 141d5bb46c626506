// Package board serves a web page that shows orders as they move through their
// stages. Orders can be placed and cancelled there, and each has its timeline.
//
// One watcher (board.go) asks the server on behalf of all open pages. counters.go
// counts the orders that have ended. pages.go tells the open pages what changed;
// web.go serves the page and answers its requests. The page itself is in the folder
// assets. It needs nothing from any other machine.
package board

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
)

// Orders is the part of a [desk.Client] that a board needs.
type Orders interface {
	Place(ctx context.Context, request coffee.OrderRequest) (coffee.Placed, error)
	Cancel(ctx context.Context, orderID, reason string) error
	List(ctx context.Context, options desk.ListOptions) ([]desk.OrderView, error)
	AddDetails(ctx context.Context, views []desk.OrderView) error
	History(ctx context.Context, orderID string) (desk.History, error)
	Count(ctx context.Context, options desk.ListOptions) (int, error)
	Waiting(ctx context.Context, orderID string) (desk.Waiting, error)
}

// Limits on what is shown, and on what is asked of the server.
const (
	// mostRunning and mostEnded are how many orders of each kind a page shows.
	mostRunning = 1000
	mostEnded   = 100
	// mostCounted is how many orders can end between two looks and still be counted
	// in the last minute.
	mostCounted = 300
	// mostLooks is how many orders are looked up one by one each time, starting
	// with those that have waited longest.
	mostLooks = 100
	// shortestPause and longestPause bound the pause between two looks at the
	// server. Within them the pause is nine times as long as the look took, to keep
	// a board to a tenth of a processor.
	shortestPause = 250 * time.Millisecond
	longestPause  = 5 * time.Second
	// lookTimeout ends a look at a server that does not answer.
	lookTimeout = 10 * time.Second
	// window is how far back the counters and the chart go, in seconds.
	window = 60
)

// Options configure a [Board].
type Options struct {
	// Orders is required.
	Orders Orders
	// Explain turns an error from the server into words; nil means its own message.
	Explain func(error) string
	// UIURL is the address of Temporal's Web UI; empty means no links to it.
	// Namespace is the namespace in these links.
	UIURL, Namespace string
	// AllowedHosts are names under which the board answers on a loopback address, besides
	// localhost and IP addresses: that of a proxy.
	AllowedHosts []string
}

// Board watches the orders for all open pages.
type Board struct {
	options Options
	wake    chan struct{} // a page wants to see something new

	mu      sync.Mutex
	known   map[string]*order // by id
	viewers map[chan []byte]struct{}
	news    news // without the orders
	// diagnoser has seen all answers of the server.
	diagnoser desk.Diagnoser
	// The orders that ended in each second of the window, by the second modulo its
	// length. They are kept here because more orders may end than are shown.
	seconds [window]map[string]order
	until   int64 // the last of these seconds
}

// order is an order as a page knows it.
type order struct {
	ID       string             `json:"id"`
	Drink    coffee.Drink       `json:"drink"`
	Size     coffee.Size        `json:"size"`
	Price    string             `json:"price"`
	Status   coffee.OrderStatus `json:"status"`
	Stage    coffee.Stage       `json:"stage"`
	Attempts int                `json:"attempts,omitempty"`
	Failure  string             `json:"failure,omitempty"`
	// Reached is the last step that it was seen at; empty if it was not seen at any.
	Reached coffee.Stage `json:"reached,omitempty"`
	// Paused is who has paused it and why; empty if nobody has.
	Paused string `json:"paused,omitempty"`
	// Stuck is why the last worker could not go on with it; empty if it could.
	Stuck string `json:"stuck,omitempty"`
	// Times are in milliseconds since 1970; 0 means never.
	RetryAt   int64 `json:"retry_at,omitempty"`
	StartedAt int64 `json:"started_at"`
	EndedAt   int64 `json:"ended_at,omitempty"`

	looked time.Time // when it was last looked up by itself
}

// news is the message that pages receive.
type news struct {
	// Problem says why the server cannot be asked; empty if it can.
	Problem string `json:"problem"`
	// Known means that the server said which orders there are when it was asked last.
	Known bool `json:"known"`
	// Diagnosis is why orders do not go on, if that is known. Waiting says it in words.
	Diagnosis desk.Diagnosis `json:"diagnosis"`
	Waiting   string         `json:"waiting,omitempty"`
	// Running and Over are how many orders run, and how many are over, shown or not.
	Running int `json:"running"`
	Over    int `json:"over"`
	// Now is the board's clock, in milliseconds since 1970.
	Now int64 `json:"now"`
	// Ended counts the orders that ended in each of the last 60 seconds.
	Ended []int `json:"ended"`
	// LastMinute counts them by how they ended.
	LastMinute map[coffee.OrderStatus]int `json:"last_minute"`
	// All means that Orders has all orders, not only those that changed.
	All    bool     `json:"all"`
	Orders []order  `json:"orders"`
	Gone   []string `json:"gone,omitempty"`
}

// New returns a board. It does nothing until [Board.Run] is called.
func New(options Options) *Board {
	return &Board{options: options, wake: make(chan struct{}, 1), known: map[string]*order{}, viewers: map[chan []byte]struct{}{}}
}

// Run watches the orders while any page is open, until the context ends.
func (b *Board) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if !b.watched() {
			select {
			case <-ctx.Done():
			case <-b.wake:
			}
			continue
		}
		began := time.Now()
		b.look(ctx)
		pause := min(longestPause, max(shortestPause, 9*time.Since(began)))
		select {
		case <-ctx.Done():
		case <-time.After(shortestPause): // even if a page is in a hurry
		}
		select {
		case <-ctx.Done():
		case <-b.wake:
		case <-time.After(pause - shortestPause):
		}
	}
}

// look asks the server and tells the pages what is new.
func (b *Board) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	found, err := b.ask(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	waits := b.diagnoser.Observe(time.Now(), err != nil, found.waits)
	b.news = news{Now: time.Now().UnixMilli(), Diagnosis: waits.Diagnosis, Waiting: waits.String(), Running: found.running, Over: found.over}
	if err != nil {
		b.news.Problem = b.explain(err)
		b.tell(b.count(b.news))
		return
	}
	b.news.Known = true
	changed, gone := b.take(found.views, found.looked)
	update := b.count(b.news)
	update.Orders, update.Gone = changed, gone
	b.tell(update)
}

func (b *Board) explain(err error) string {
	if b.options.Explain != nil {
		return b.options.Explain(err)
	}
	return err.Error()
}

// seen is what the server was seen to have.
type seen struct {
	views         []desk.OrderView
	looked        map[string]bool // the ids of those that were looked up one by one
	running, over int             // how many orders there are in truth
	waits         desk.Waiting    // why the oldest one does not go on
}

// ask lists the orders, and looks some of them up one by one. The two kinds have a list
// each, or the running ones could fill it.
func (b *Board) ask(ctx context.Context) (found seen, err error) {
	if found, err = b.list(ctx); err != nil {
		return seen{}, err
	}
	before := map[string]time.Time{}
	b.mu.Lock()
	for id, o := range b.known {
		before[id] = o.looked
	}
	b.mu.Unlock()
	some := b.unclear(found.views)
	slices.SortStableFunc(some, func(i, j int) int {
		return before[found.views[i].OrderID].Compare(before[found.views[j].OrderID])
	})
	some = some[:min(len(some), mostLooks)]
	closer := make([]desk.OrderView, len(some))
	for n, i := range some {
		closer[n] = found.views[i]
	}
	if err := b.options.Orders.AddDetails(ctx, closer); err != nil {
		return seen{}, err
	}
	found.looked = map[string]bool{}
	for n, i := range some {
		found.views[i] = closer[n]
		found.looked[closer[n].OrderID] = true
	}
	if id := desk.OldestWaiting(found.views); id != "" {
		// If the server cannot say, the orders are shown without a reason.
		found.waits, _ = b.options.Orders.Waiting(ctx, id)
	}
	return found, nil
}

// list returns the newest orders that run, those that ended last, and how many there are.
func (b *Board) list(ctx context.Context) (found seen, err error) {
	orders := b.options.Orders
	running, err := orders.List(ctx, desk.ListOptions{Status: coffee.StatusRunning, Limit: mostRunning, Brief: true})
	if err != nil {
		return seen{}, err
	}
	found.views, err = orders.List(ctx, desk.ListOptions{Over: true, Limit: mostCounted, Brief: true})
	if err != nil {
		return seen{}, err
	}
	found.running, found.over = len(running), len(found.views)
	if found.running == mostRunning {
		if found.running, err = orders.Count(ctx, desk.ListOptions{Status: coffee.StatusRunning}); err != nil {
			return seen{}, err
		}
	}
	if found.over == mostCounted {
		if found.over, err = orders.Count(ctx, desk.ListOptions{Over: true}); err != nil {
			return seen{}, err
		}
	}
	over := map[string]bool{}
	for _, view := range found.views {
		over[view.OrderID] = true
	}
	for _, view := range running {
		if !over[view.OrderID] { // or it has ended between the two requests
			found.views = append(found.views, view)
		}
	}
	slices.SortStableFunc(found.views, func(a, b desk.OrderView) int { return b.EndedAt.Compare(a.EndedAt) })
	return found, nil
}

// unclear returns which orders of a list have to be looked up one by one: it lacks the
// stage of running orders and, on some servers, the outcome of the others. The latter are
// looked up once; an outcome that is known from then is filled in.
func (b *Board) unclear(views []desk.OrderView) (some []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ended, counted := 0, time.Now().Add(-window*time.Second)
	for i := range views {
		view := &views[i]
		if view.Status == coffee.StatusRunning {
			some = append(some, i)
			continue
		}
		ended++
		if view.Status != "" {
			continue
		}
		known := b.ended(view.OrderID, view.EndedAt.UnixMilli())
		view.Status = known.Status
		if known.looked.IsZero() && (ended <= mostEnded || view.EndedAt.After(counted)) {
			some = append(some, i)
		}
	}
	return some
}

// take stores what was learned, and returns what is new.
func (b *Board) take(views []desk.OrderView, looked map[string]bool) (changed []order, gone []string) {
	now := time.Now()
	b.advance(now.Unix())
	seen := map[string]bool{}
	ended := 0
	for _, view := range views {
		before := b.known[view.OrderID]
		o := toOrder(view, before, looked[view.OrderID], now)
		if o.EndedAt != 0 {
			if o.looked.IsZero() {
				o.looked = b.ended(o.ID, o.EndedAt).looked
			}
			b.over(o)
			if ended++; ended > mostEnded {
				continue
			}
		}
		seen[view.OrderID] = true
		if before == nil || *before != o {
			if before == nil || !same(*before, o) {
				changed = append(changed, o)
			}
			b.known[view.OrderID] = &o
		}
	}
	for id := range b.known {
		if !seen[id] {
			delete(b.known, id)
			gone = append(gone, id)
		}
	}
	return changed, gone
}

// same reports whether two orders look the same to a page.
func same(a, b order) bool {
	a.looked, b.looked = time.Time{}, time.Time{}
	return a == b
}

func toOrder(view desk.OrderView, before *order, looked bool, now time.Time) order {
	o := order{ID: view.OrderID, Drink: view.Drink, Size: view.Size, Status: view.Status, Stage: view.Stage,
		StartedAt: view.StartedAt.UnixMilli()}
	if view.AmountCents != 0 {
		o.Price = view.AmountCents.String()
	}
	if !view.EndedAt.IsZero() {
		o.EndedAt = view.EndedAt.UnixMilli()
	}
	switch {
	case looked:
		o.looked = now
		o.Paused = strings.ToValidUTF8(view.Paused, "?")
		o.Attempts, o.Failure = view.BrewAttempts, strings.ToValidUTF8(view.LastFailure, "?")
		o.Stuck = strings.ToValidUTF8(cmp.Or(view.Unreadable, view.WorkflowTaskFailure), "?")
		if !view.NextAttemptAt.IsZero() {
			o.RetryAt = view.NextAttemptAt.UnixMilli()
		}
	case before != nil && o.EndedAt == 0: // keep what was known
		o.Stage, o.Attempts, o.Failure, o.RetryAt, o.looked = before.Stage, before.Attempts, before.Failure, before.RetryAt, before.looked
		o.Stuck, o.Paused = before.Stuck, before.Paused
	case before != nil:
		o.Attempts = before.Attempts
	}
	switch o.Stage {
	case coffee.StageCharging, coffee.StageBrewing, coffee.StageSendingReceipt:
		o.Reached = o.Stage
	default:
		if before != nil {
			o.Reached = before.Reached
		}
	}
	return o
}
