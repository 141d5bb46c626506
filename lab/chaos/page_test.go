//go:build unix

package chaos

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
)

// ended is an order of a list that ended some time ago.
func ended(id string, status coffee.OrderStatus, ago time.Duration) desk.OrderView {
	return desk.OrderView{OrderState: coffee.OrderState{OrderID: id}, Status: status, EndedAt: time.Now().Add(-ago)}
}

// TestPage: what an open page shows is compared with a list of the orders.
func TestPage(t *testing.T) {
	t.Parallel()
	listed := []desk.OrderView{ended("1", "COMPLETED", 0), ended("2", "CANCELLED", 0)}
	p := &page{}
	for _, step := range []struct{ sent, wrong string }{
		{`data: {"all": true}`, `order 1 is not shown`},
		{`data: {"orders": [{"order_id": "1", "status": "COMPLETED", "ended_at": "1970-01-01T00:00:09Z"}, {"order_id": "2", "status": "RUNNING"}]}`, `order 2 is shown as RUNNING, and not as CANCELLED`},
		{`data: {"orders": [{"order_id": "2", "status": "CANCELLED", "ended_at": "1970-01-01T00:00:09Z"}]}`, ``},
		{`: still here`, ``},
		{`data: {"problem": "no server"}`, `no server`},
		{`data: {"orders": [{"order_id": "3", "status": "FAILED", "ended_at": "1970-01-01T00:00:09Z"}]}`, `order 3 is shown as FAILED, and there is none`},
		{`data: {"gone": ["3"]}`, ``},
		{`data: {"all": true, "orders": [{"order_id": "1", "status": "COMPLETED", "ended_at": "1970-01-01T00:00:09Z"}]}`, `order 2 is not shown`},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "retry: 1000\n\n%s\n\n", step.sent)
		}))
		if err := p.follow(t.Context(), server.URL); err != nil {
			t.Error(err)
		}
		server.Close()
		if got := p.wrong(listed); got != step.wrong {
			t.Errorf("after %s: got %q, want %q", step.sent, got, step.wrong)
		}
	}
	for what, answer := range map[string]func(http.ResponseWriter){
		"503":     func(w http.ResponseWriter) { http.Error(w, "too many pages", http.StatusServiceUnavailable) },
		"invalid": func(w http.ResponseWriter) { fmt.Fprintln(w, "data: {") },
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w) }))
		err := p.follow(t.Context(), server.URL)
		server.Close()
		if p.closed(err); err == nil || !strings.HasPrefix(p.wrong(listed), "the page is not connected: ") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// TestPageOfMany: of the orders that have ended, those are compared that ended most
// recently.
func TestPageOfMany(t *testing.T) {
	t.Parallel()
	var listed []desk.OrderView
	p := &page{orders: map[string]desk.OrderView{}}
	show := func(view desk.OrderView) { p.orders[view.OrderID] = view }
	for i := range 100 { // as many as a board shows
		listed = append(listed, ended(fmt.Sprint(i), "FAILED", time.Duration(i)*time.Second))
		show(listed[i])
	}
	for _, step := range []struct {
		ago   time.Duration
		wrong string
	}{{time.Hour, ""}, {time.Minute, "order other is shown as COMPLETED, and there is none"}} {
		show(ended("other", "COMPLETED", step.ago))
		if got := p.wrong(listed); got != step.wrong {
			t.Errorf("%v ago: got %q, want %q", step.ago, got, step.wrong)
		}
	}
	show(desk.OrderView{OrderState: coffee.OrderState{OrderID: "other"}, Status: "RUNNING"})
	if got := p.wrong(listed); got != "order other is shown as RUNNING, and there is none" {
		t.Errorf("got %q", got)
	}
}
