// Package board serves a web page that shows orders as they move through their
// stages. Orders can be placed and cancelled there, and each has its timeline.
//
// One watcher (board.go) asks the server on behalf of all open pages. pages.go tells each
// of them what has changed; web.go serves the page and answers its requests. The page
// itself is in the folder assets. It needs nothing from any other machine.
package board

import (
	"context"
	"slices"
	"sync"
	"time"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/sleep"
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

	mu        sync.Mutex
	known     map[string]known // the orders of the last look, by id
	shown     map[string]order // those that pages show
	ended     map[string]order // those that ended in the window, by id: more may end than are listed
	diagnoser desk.Diagnoser   // has seen all answers of the server
	news      news             // of the last look
	update    []byte           // the same, as pages receive it
	told      chan struct{}    // closed by the last look
	more      chan struct{}    // will be closed by the next one
	pages     int              // that are open
}

// known is what is known of an order.
type known struct {
	order
	looked time.Time // when it was last looked up by itself, since it ended if it has
}

// order is an order as a page knows it.
type order struct {
	desk.OrderView
	// Reached is the last step that it was seen at; empty if it was not seen at any.
	Reached coffee.Stage `json:"reached,omitempty"`
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
	return &Board{options: options, wake: make(chan struct{}, 1), ended: map[string]order{}, more: make(chan struct{})}
}

// Run watches the orders while any page is open, until the context ends.
func (b *Board) Run(ctx context.Context) {
	for ctx.Err() == nil {
		var pause <-chan time.Time // for ever, if nobody looks
		if b.watched() {
			began := time.Now()
			b.look(ctx)
			took := time.Since(began)
			sleep.For(ctx, shortestPause) // even if a page is in a hurry
			pause = time.After(min(longestPause-shortestPause, 9*took-shortestPause))
		}
		select {
		case <-ctx.Done():
		case <-b.wake:
		case <-pause:
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
	b.news = news{Known: err == nil, Diagnosis: waits.Diagnosis, Waiting: waits.String(), Running: found.running, Over: found.over}
	if err != nil {
		b.news.Problem = b.explain(err)
	} else {
		b.take(found)
	}
	b.count()
	b.update = b.news.encode()
	close(b.more)
	b.told, b.more = b.more, make(chan struct{})
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

// ask lists the orders, and looks some of them up one by one.
func (b *Board) ask(ctx context.Context) (found seen, err error) {
	if found, err = b.list(ctx); err != nil {
		return seen{}, err
	}
	unclear, rest := b.sort(found.views)
	if err := b.options.Orders.AddDetails(ctx, unclear); err != nil {
		return seen{}, err
	}
	found.looked = map[string]bool{}
	for _, view := range unclear {
		found.looked[view.OrderID] = true
	}
	found.views = append(unclear, rest...)
	if id := desk.OldestWaiting(found.views); id != "" {
		// If the server cannot say, the orders are shown without a reason.
		found.waits, _ = b.options.Orders.Waiting(ctx, id)
	}
	return found, nil
}

// list returns the newest orders that run, those that ended last, and how many there are.
// The two kinds have a list each, or the running ones could fill it.
func (b *Board) list(ctx context.Context) (found seen, err error) {
	running, there, err := b.listSome(ctx, desk.ListOptions{Status: coffee.StatusRunning, Limit: mostRunning, Brief: true})
	if err != nil {
		return seen{}, err
	}
	found.running = there
	if found.views, found.over, err = b.listSome(ctx, desk.ListOptions{Over: true, Limit: mostCounted, Brief: true}); err != nil {
		return seen{}, err
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
	return found, nil
}

// listSome returns a list, and how many orders it would have without its limit.
func (b *Board) listSome(ctx context.Context, options desk.ListOptions) (views []desk.OrderView, there int, err error) {
	views, err = b.options.Orders.List(ctx, options)
	if there = len(views); err == nil && there == options.Limit {
		there, err = b.options.Orders.Count(ctx, desk.ListOptions{Status: options.Status, Over: options.Over})
	}
	return views, there, err
}

// newestFirst puts the orders that ended last first, and those that run last.
func newestFirst(views []desk.OrderView) {
	slices.SortStableFunc(views, func(a, b desk.OrderView) int { return b.EndedAt.Compare(a.EndedAt) })
}

// sort returns which orders of a list have to be looked up one by one, and the others: it
// lacks the stage of running orders and, on some servers, the outcome of the others. The
// latter are looked up once; an outcome that is known from then is filled in.
func (b *Board) sort(views []desk.OrderView) (unclear, rest []desk.OrderView) {
	newestFirst(views)
	b.mu.Lock()
	defer b.mu.Unlock()
	counted := time.Now().Add(-window * time.Second)
	for i, view := range views {
		isUnclear := view.Status == coffee.StatusRunning
		if view.Status == "" {
			isUnclear = i < mostEnded || view.EndedAt.After(counted)
			if before := b.known[view.OrderID]; before.EndedAt.Equal(view.EndedAt) {
				view.Status, isUnclear = before.Status, isUnclear && before.looked.IsZero()
			}
		}
		if isUnclear {
			unclear = append(unclear, view)
		} else {
			rest = append(rest, view)
		}
	}
	slices.SortStableFunc(unclear, func(i, j desk.OrderView) int {
		return b.known[i.OrderID].looked.Compare(b.known[j.OrderID].looked)
	})
	if len(unclear) > mostLooks {
		unclear, rest = unclear[:mostLooks:mostLooks], append(rest, unclear[mostLooks:]...)
	}
	return unclear, rest
}

// take stores what was learned, and adds to the news what is new to a page.
func (b *Board) take(found seen) {
	newestFirst(found.views)
	now, before, shown := time.Now(), b.known, map[string]order{}
	b.known = map[string]known{}
	for i, view := range found.views {
		o := toOrder(view, before[view.OrderID], found.looked[view.OrderID], now)
		b.known[o.OrderID] = o
		if !o.EndedAt.IsZero() {
			b.ended[o.OrderID] = o.order
			if i >= mostEnded {
				continue
			}
		}
		shown[o.OrderID] = o.order
		if b.shown[o.OrderID] != o.order {
			b.news.Orders = append(b.news.Orders, o.order)
		}
	}
	for id := range b.shown {
		if _, ok := shown[id]; !ok {
			b.news.Gone = append(b.news.Gone, id)
		}
	}
	b.shown = shown
}

// count adds the time and the counters to the news.
func (b *Board) count() {
	now := time.Now()
	b.news.Now, b.news.Ended, b.news.LastMinute = now.UnixMilli(), make([]int, window), map[coffee.OrderStatus]int{}
	for id, o := range b.ended {
		switch ago := now.Unix() - o.EndedAt.Unix(); {
		case ago >= window:
			delete(b.ended, id)
		case ago >= 0: // on the server's clock, it may be later
			b.news.Ended[window-1-ago]++
			b.news.LastMinute[o.Status]++
		}
	}
}

// toOrder returns what is known of an order now, of which something may have been known
// before. A list says less than what is known from a look at the order.
func toOrder(view desk.OrderView, before known, looked bool, now time.Time) known {
	o := known{order: order{view, before.Reached}}
	switch {
	case looked:
		o.looked = now
	case before.RunID == view.RunID && before.Status == view.Status && before.EndedAt.Equal(view.EndedAt):
		return before
	default:
		o.BrewAttempts = before.BrewAttempts
	}
	switch o.Stage {
	case coffee.StageCharging, coffee.StageBrewing, coffee.StageSendingReceipt:
		o.Reached = o.Stage
	}
	return o
}
