package telemetry

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/coffee/coffee"
)

// forgetAfter is when a worker forgets a refund that it has tried and not tried again:
// by then another worker has. It is longer than the pause between two attempts.
const forgetAfter = 2 * coffee.MaxRefundBackoff

// refunds knows the refunds that this worker has tried and that are still due.
type refunds struct {
	now func() time.Time

	mu      sync.Mutex
	pending map[string]pendingRefund // by workflow id
}

type pendingRefund struct{ since, tried time.Time }

// gauges returns the metrics of the refunds.
func (r *refunds) gauges() []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "coffee_refunds_pending",
			Help: "Refunds that this worker has tried and that are still due."},
			func() float64 { pending, _ := r.due(); return float64(pending) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "coffee_refunds_pending_age_seconds",
			Help: "How long the oldest of them has been due; 0 if there is none."},
			func() float64 { _, oldest := r.due(); return oldest.Seconds() }),
	}
}

// due returns how many refunds are due, and how long the oldest has been.
func (r *refunds) due() (pending int, oldest time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for id, refund := range r.pending {
		if now.Sub(refund.tried) > forgetAfter {
			delete(r.pending, id)
			continue
		}
		oldest = max(oldest, now.Sub(refund.since))
	}
	return len(r.pending), oldest
}

func (r *refunds) try(workflowID string, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending[workflowID] = pendingRefund{since: since, tried: r.now()}
}

func (r *refunds) done(workflowID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pending, workflowID)
}
