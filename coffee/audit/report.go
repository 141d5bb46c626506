package audit

import (
	"slices"
	"strings"

	"example.com/coffee/coffee"
)

// Report is the outcome of an audit.
type Report struct {
	Orders Orders `json:"orders"`
	Ledger Ledger `json:"ledger"`
	// Replayed is how many histories were replayed.
	Replayed int `json:"replayed"`
	// Acknowledged is how many orders had been acknowledged to a client.
	Acknowledged int `json:"acknowledged"`
	// Stuck are the ids of the running orders whose worker has code that does not fit
	// their history, sorted.
	Stuck []string `json:"stuck,omitempty"`
	// Unreadable are the orders that cannot be read, sorted. They are in no
	// count.
	Unreadable []Unreadable `json:"unreadable,omitempty"`
	// Breaches are sorted by order.
	Breaches []Breach `json:"breaches"`
	// Repairs are the orders that were settled. Breaches has what remains.
	Repairs []Repair `json:"repairs"`
}

// Unreadable is an order that cannot be read.
type Unreadable struct {
	OrderID string `json:"order_id"`
	Problem string `json:"problem"`
}

// Orders counts the orders by how they ended.
type Orders struct {
	Completed int `json:"completed"`
	Failed    int `json:"failed"`
	Cancelled int `json:"cancelled"`
	// Invalid orders were refused: they ended with an error before any charge.
	Invalid int `json:"invalid"`
	// Stopped orders were terminated or timed out from outside, or ended with
	// an error after a charge was attempted.
	Stopped int `json:"stopped"`
	Running int `json:"running"`
}

// Total returns how many orders there are.
func (o Orders) Total() int {
	return o.Completed + o.Failed + o.Cancelled + o.Invalid + o.Stopped + o.Running
}

// Ledger sums up the ledger.
type Ledger struct {
	Charges  int          `json:"charges"`
	Refunds  int          `json:"refunds"`
	Voids    int          `json:"voids"`
	NetCents coffee.Cents `json:"net_cents"`
}

// Repair is what was done about one order.
type Repair struct {
	OrderID string `json:"order_id"`
	Problem string `json:"problem"`
	Done    string `json:"done"`
}

// count fills in the figures of the report.
func (a *auditor) count() {
	orders := &a.report.Orders
	for workflowID, stories := range a.stories {
		a.report.Replayed += len(stories)
		for _, chain := range newFile(workflowID, stories, nil).chains {
			switch s := last(chain); {
			case !s.ended:
				orders.Running++
				if s.stuck {
					a.report.Stuck = append(a.report.Stuck, coffee.OrderID(workflowID))
				}
			case s.result == nil && !s.chargeScheduled && (strings.HasPrefix(s.end, "ended with an error") || s.end == endedCancelled && len(s.amounts) == 0):
				orders.Invalid++
			case s.result == nil:
				orders.Stopped++
			case s.result.Status == coffee.StatusCompleted:
				orders.Completed++
			case s.result.Status == coffee.StatusCancelled:
				orders.Cancelled++
			default:
				orders.Failed++
			}
		}
	}
	for workflowID, unread := range a.unreadable {
		a.report.Unreadable = append(a.report.Unreadable, Unreadable{coffee.OrderID(workflowID), unread.problem()})
	}
	slices.SortFunc(a.report.Unreadable, func(x, y Unreadable) int { return strings.Compare(x.OrderID, y.OrderID) })
	slices.Sort(a.report.Stuck)
}
