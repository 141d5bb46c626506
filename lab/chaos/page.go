//go:build unix

package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/sleep"
)

// startBoard starts an order board, and opens its page.
func (r *run) startBoard(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	r.watching.Go(func() {
		for sleep.For(ctx, 100*time.Millisecond) {
			r.page.closed(r.page.follow(ctx, fmt.Sprintf("http://127.0.0.1:%d/news", port)))
		}
	})
	return r.startWired(theBoard, &process{name: "board"}, "board", "--port", fmt.Sprint(port))
}

// page is an open page of the order board.
type page struct {
	mu      sync.Mutex
	problem string // why it does not know how things are; empty if it does
	orders  map[string]desk.OrderView
}

// pageNews is what a page is sent: all orders, or those that have changed.
type pageNews struct {
	Problem string           `json:"problem"`
	All     bool             `json:"all"`
	Orders  []desk.OrderView `json:"orders"`
	Gone    []string         `json:"gone"`
}

// follow takes what the board sends until the connection ends. It returns why.
func (p *page) follow(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		var news pageNews
		if err := json.Unmarshal(data, &news); err != nil {
			return err
		}
		p.take(news)
	}
	return lines.Err()
}

// closed notes that the page has lost its board.
func (p *page) closed(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problem = fmt.Sprintf("the page is not connected: %v", why)
}

func (p *page) take(news pageNews) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problem = news.Problem
	if news.All || p.orders == nil {
		p.orders = map[string]desk.OrderView{}
	}
	for _, order := range news.Orders {
		p.orders[order.OrderID] = order
	}
	for _, id := range news.Gone {
		delete(p.orders, id)
	}
}

// enoughShown is how many orders are compared with what the page shows: all of them, if
// there are no more, and otherwise those that run and those that ended most recently. A
// board shows as many that have ended.
const enoughShown = 100

// wrong returns what the page shows that is not so, given the first orders of a list;
// empty if nothing is wrong.
func (p *page) wrong(listed []desk.OrderView) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.problem != "" {
		return p.problem
	}
	known, oldest := map[string]bool{}, time.Time{} // when the oldest of them ended; never if all are listed
	for _, view := range listed {
		known[view.OrderID] = true
		switch order, ok := p.orders[view.OrderID]; {
		case !ok:
			return fmt.Sprintf("order %s is not shown", view.OrderID)
		case order.Status != view.Status:
			return fmt.Sprintf("order %s is shown as %s, and not as %s", view.OrderID, order.Status, view.Status)
		}
		if ended := view.EndedAt; len(listed) == enoughShown && !ended.IsZero() && (oldest.IsZero() || ended.Before(oldest)) {
			oldest = ended
		}
	}
	for id, order := range p.orders {
		if !known[id] && (order.EndedAt.IsZero() || order.EndedAt.After(oldest)) {
			return fmt.Sprintf("order %s is shown as %s, and there is none", id, order.Status)
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
	if err := r.waitForServer(ctx); err != nil { // the last fault may have hit it
		return err
	}
	for deadline := time.Now().Add(boardPatience); ; {
		wrong := ""
		if listed, err := r.list(ctx); err != nil {
			wrong = err.Error()
		} else if wrong = r.page.wrong(listed); wrong == "" {
			return nil
		}
		if time.Now().After(deadline) {
			r.incidents = append(r.incidents, "the board is wrong: "+wrong)
			return nil
		}
		if !sleep.For(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// list lists the first orders.
func (r *run) list(ctx context.Context) ([]desk.OrderView, error) {
	conn, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return desk.NewClient(conn, r.namespace).List(ctx, desk.ListOptions{Limit: enoughShown})
}
