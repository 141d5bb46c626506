//go:build unix

package chaos

import (
	"encoding/json"
	"strings"
	"testing"

	"example.com/coffee/coffee"
)

// TestPage: what an open page shows is compared with a list of the orders.
func TestPage(t *testing.T) {
	t.Parallel()
	p := &page{}
	take := func(text string) {
		t.Helper()
		var news pageNews
		if err := json.Unmarshal([]byte(text), &news); err != nil {
			t.Fatal(err)
		}
		p.take(news)
	}
	view := func(id string, status coffee.OrderStatus) coffee.OrderView {
		return coffee.OrderView{OrderState: coffee.OrderState{OrderID: id}, Status: status}
	}
	listed := []coffee.OrderView{view("1", "COMPLETED"), view("2", "CANCELLED")}
	for _, step := range []struct{ news, wrong string }{
		{`{"all": true}`, `order 1 is "", and not COMPLETED`},
		{`{"orders": [{"id": "1", "status": "COMPLETED"}, {"id": "2", "status": "RUNNING"}]}`, `order 2 is "RUNNING", and not CANCELLED`},
		{`{"orders": [{"id": "2", "status": "CANCELLED"}]}`, ``},
		{`{"problem": "no server"}`, `no server`},
		{`{"orders": [{"id": "3", "status": "FAILED"}]}`, `order 3 is FAILED, and there is none`},
		{`{"gone": ["3"]}`, ``},
		{`{"all": true, "orders": [{"id": "1", "status": "COMPLETED"}]}`, `order 2 is "", and not CANCELLED`},
	} {
		take(step.news)
		if got := p.wrong(listed); got != step.wrong {
			t.Errorf("after %s: got %q, want %q", step.news, got, step.wrong)
		}
	}
	// Of orders that have ended, a board shows more than are compared.
	for len(listed) < enoughShown {
		listed = append(listed, view(strings.Repeat("x", len(listed)), "FAILED"))
	}
	for _, view := range listed {
		p.orders[view.OrderID] = view.Status
	}
	p.orders["old"] = "COMPLETED"
	if got := p.wrong(listed); got != "" {
		t.Errorf("got %q", got)
	}
	p.orders["old"] = "RUNNING"
	if got := p.wrong(listed); got != "order old is RUNNING, and there is none" {
		t.Errorf("got %q", got)
	}
}
