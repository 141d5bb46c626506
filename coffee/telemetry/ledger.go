package telemetry

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"example.com/coffee/coffee"
)

// measured measures the calls of a ledger.
type measured struct {
	coffee.Ledger
	duration metric.Float64Histogram
	errors   metric.Int64Counter
}

// The operations of a ledger, as values of the label operation.
const (
	opCharge  = "charge"
	opRefund  = "refund"
	opDeliver = "deliver"
	opPaid    = "paid"
)

// Ledger returns a ledger that measures how long the calls of another one take, and
// counts their errors. A refusal is an answer, not an error.
func (m *Metrics) Ledger(ledger coffee.Ledger) (coffee.Ledger, error) {
	duration, err := m.meter.Float64Histogram("coffee_ledger_duration", metric.WithUnit("s"),
		metric.WithDescription("How long calls of the ledger took."))
	if err != nil {
		return nil, err
	}
	failed, err := m.meter.Int64Counter("coffee_ledger_errors",
		metric.WithDescription("Calls of the ledger whose outcome is unknown because its database failed."))
	if err != nil {
		return nil, err
	}
	for _, operation := range []string{opCharge, opRefund, opDeliver, opPaid} {
		// A counter that begins with 1 has not increased, as Prometheus sees it.
		failed.Add(context.Background(), 0, label(operation))
	}
	return &measured{ledger, duration, failed}, nil
}

func label(operation string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("operation", operation)))
}

// end records a call that began at a time. A call that was given up because its order was
// cancelled is no error. One whose attempt timed out is: the database was too slow for it.
func (l *measured) end(ctx context.Context, operation string, began time.Time, err error) {
	l.duration.Record(ctx, time.Since(began).Seconds(), label(operation))
	if err != nil && !coffee.IsRefusal(err) && !errors.Is(ctx.Err(), context.Canceled) {
		l.errors.Add(ctx, 1, label(operation))
	}
}

// Charge implements [coffee.Ledger].
func (l *measured) Charge(ctx context.Context, charge coffee.Charge) (entry coffee.Entry, err error) {
	defer func(began time.Time) { l.end(ctx, opCharge, began, err) }(time.Now())
	return l.Ledger.Charge(ctx, charge)
}

// Refund implements [coffee.Ledger].
func (l *measured) Refund(ctx context.Context, orderID, runID string) (entry coffee.Entry, err error) {
	defer func(began time.Time) { l.end(ctx, opRefund, began, err) }(time.Now())
	return l.Ledger.Refund(ctx, orderID, runID)
}

// Deliver implements [coffee.Ledger].
func (l *measured) Deliver(ctx context.Context, orderID string) (err error) {
	defer func(began time.Time) { l.end(ctx, opDeliver, began, err) }(time.Now())
	return l.Ledger.Deliver(ctx, orderID)
}

// Paid implements [coffee.Ledger].
func (l *measured) Paid(ctx context.Context, orderID string) (delivered bool, err error) {
	defer func(began time.Time) { l.end(ctx, opPaid, began, err) }(time.Now())
	return l.Ledger.Paid(ctx, orderID)
}
