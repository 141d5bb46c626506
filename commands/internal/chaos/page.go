//go:build unix

package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"example.com/coffee/coffee"
)

// startBoard starts an order board, and opens its page.
func (r *run) startBoard(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	r.watching.Go(func() {
		for sleep(ctx, 100*time.Millisecond) {
			r.page.follow(ctx, fmt.Sprintf("http://127.0.0.1:%d/news", port))
		}
	})
	return r.startWired(theBoard, "board", "board", "--port", fmt.Sprint(port))
}

// page is an open page of the order board.
type page struct {
	mu      sync.Mutex
	problem string                        // what the board says of the server; empty if that answers
	orders  map[string]coffee.OrderStatus // by id
}

// pageNews is what a page is sent: all orders, or those that have changed.
type pageNews struct {
	Problem string `json:"problem"`
	All     bool   `json:"all"`
	Orders  []struct {
		ID     string             `json:"id"`
		Status coffee.OrderStatus `json:"status"`
	} `json:"orders"`
	Gone []string `json:"gone"`
}

// follow takes what the board sends until the connection ends, as it may.
func (p *page) follow(ctx context.Context, url string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		panic(err) // the URL is ours
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var news pageNews
		if data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: ")); ok && json.Unmarshal(data, &news) == nil {
			p.take(news)
		}
	}
}

func (p *page) take(news pageNews) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problem = news.Problem
	if news.All || p.orders == nil {
		p.orders = map[string]coffee.OrderStatus{}
	}
	for _, order := range news.Orders {
		p.orders[order.ID] = order.Status
	}
	for _, id := range news.Gone {
		delete(p.orders, id)
	}
}

// enoughShown is how many orders are compared with what the board shows. It shows all
// that run, and at least so many others.
const enoughShown = 100

// wrong returns what a page shows that is not so, given the first orders of a list;
// empty if nothing is wrong.
func (p *page) wrong(listed []coffee.OrderView) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.problem != "" {
		return p.problem
	}
	known := map[string]bool{}
	for _, view := range listed {
		known[view.OrderID] = true
		if shown, ok := p.orders[view.OrderID]; !ok || shown != view.Status {
			return fmt.Sprintf("order %s is %q, and not %s", view.OrderID, shown, view.Status)
		}
	}
	for id, status := range p.orders {
		if !known[id] && (status == coffee.StatusRunning || len(listed) < enoughShown) {
			return fmt.Sprintf("order %s is %s, and there is none", id, status)
		}
	}
	return ""
}

// boardPatience is how long a board may take until it shows how things are: its longest
// pause, and some time for a list that lags behind.
const boardPatience = 30 * time.Second

// checkBoard waits until the page shows the orders as they are. It is an incident if it
// does not, whatever the faults have done to its board.
func (r *run) checkBoard(ctx context.Context) error {
	for deadline := time.Now().Add(boardPatience); ; {
		wrong := ""
		if listed, err := r.list(ctx); err != nil { // the last fault may have hit the server
			wrong = err.Error()
		} else {
			wrong = r.page.wrong(listed)
		}
		if wrong == "" {
			return nil
		}
		if time.Now().After(deadline) {
			r.incidents = append(r.incidents, "the board is wrong: "+wrong)
			return nil
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// list lists the first orders.
func (r *run) list(ctx context.Context) ([]coffee.OrderView, error) {
	conn, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return coffee.NewClient(conn, r.namespace).List(ctx, coffee.ListOptions{Limit: enoughShown})
}
