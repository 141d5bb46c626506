package telemetry

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/coffee/coffee"
)

// measured measures how long the calls of a ledger take, and counts their errors. A refusal
// is an answer, not an error.
type measured struct {
	coffee.Ledger
	duration *prometheus.HistogramVec
	errors   *prometheus.CounterVec
}

// The operations of a ledger, as values of the label operation.
const (
	labelOperation = "operation"
	opCharge       = "charge"
	opRefund       = "refund"
	opDeliver      = "deliver"
	opPaid         = "paid"
)

func newMeasured(ledger coffee.Ledger) *measured {
	m := &measured{ledger, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "coffee_ledger_duration_seconds",
		Help: "How long calls of the ledger took.", Buckets: buckets}, []string{labelOperation}),
		prometheus.NewCounterVec(prometheus.CounterOpts{Name: "coffee_ledger_errors_total",
			Help: "Calls of the ledger whose outcome is unknown because its database failed."}, []string{labelOperation})}
	for _, operation := range []string{opCharge, opRefund, opDeliver, opPaid} {
		m.errors.WithLabelValues(operation) // a counter that begins with 1 has not increased, as Prometheus sees it
	}
	return m
}

// end records a call that began at a time. A call that was given up because its order was
// cancelled is no error. One whose attempt timed out is: the database was too slow for it.
func (m *measured) end(ctx context.Context, operation string, began time.Time, err error) {
	m.duration.WithLabelValues(operation).Observe(time.Since(began).Seconds())
	if err != nil && !coffee.IsRefusal(err) && !errors.Is(ctx.Err(), context.Canceled) {
		m.errors.WithLabelValues(operation).Inc()
	}
}

// Charge implements [coffee.Ledger].
func (m *measured) Charge(ctx context.Context, charge coffee.Charge) (entry coffee.Entry, err error) {
	defer func(began time.Time) { m.end(ctx, opCharge, began, err) }(time.Now())
	return m.Ledger.Charge(ctx, charge)
}

// Refund implements [coffee.Ledger].
func (m *measured) Refund(ctx context.Context, orderID, runID string) (entry coffee.Entry, err error) {
	defer func(began time.Time) { m.end(ctx, opRefund, began, err) }(time.Now())
	return m.Ledger.Refund(ctx, orderID, runID)
}

// Deliver implements [coffee.Ledger].
func (m *measured) Deliver(ctx context.Context, orderID string) (err error) {
	defer func(began time.Time) { m.end(ctx, opDeliver, began, err) }(time.Now())
	return m.Ledger.Deliver(ctx, orderID)
}

// Paid implements [coffee.Ledger].
func (m *measured) Paid(ctx context.Context, orderID string) (delivered bool, err error) {
	defer func(began time.Time) { m.end(ctx, opPaid, began, err) }(time.Now())
	return m.Ledger.Paid(ctx, orderID)
}
