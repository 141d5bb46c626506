package telemetry

import (
	"context"
	"errors"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"example.com/coffee/coffee"
)

// scrape returns the metrics as Prometheus gets them.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// want checks that the metrics have lines.
func want(t *testing.T, metrics string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+metrics, "\n"+line+"\n") {
			t.Errorf("there is no line %s in\n%s", line, regexp.MustCompile(`(?m)^(#|go_|process_).*\n`).ReplaceAllString(metrics, ""))
		}
	}
}

// brokenLedger answers with an error.
type brokenLedger struct {
	coffee.Ledger
	err error
}

func (l *brokenLedger) Charge(context.Context, coffee.Charge) (coffee.Entry, error) {
	return coffee.Entry{}, l.err
}

func (l *brokenLedger) Refund(context.Context, string, string) (coffee.Entry, error) {
	return coffee.Entry{}, l.err
}

// TestLedgerMetrics: a ledger's failures are errors, its refusals are not.
func TestLedgerMetrics(t *testing.T) {
	t.Parallel()
	m, err := NewMetrics()
	if err != nil {
		t.Fatal(err)
	}
	var broken brokenLedger
	options := coffee.WorkerOptions{Ledger: &broken}
	m.Instrument(&options)
	want(t, scrape(t, m), `coffee_ledger_errors_total{operation="deliver"} 0`) // so that it can increase
	refused := errors.New("connection refused")
	for _, broken.err = range []error{refused, refused, coffee.ErrSettled} {
		if _, err := options.Ledger.Charge(context.Background(), coffee.Charge{}); err == nil {
			t.Error("the error is lost")
		}
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	broken.err = refused
	if _, err := options.Ledger.Charge(cancelled, coffee.Charge{}); err == nil { // its order was cancelled
		t.Error("the error is lost")
	}
	want(t, scrape(t, m),
		`coffee_ledger_errors_total{operation="charge"} 2`,
		`coffee_ledger_errors_total{operation="refund"} 0`,
		`coffee_ledger_duration_seconds_count{operation="charge"} 4`,
		`coffee_ledger_duration_seconds_bucket{operation="charge",le="60"} 4`)
}

// TestRefundsPending: a refund is pending from its first failure until it is made, or
// until another worker must have taken it.
func TestRefundsPending(t *testing.T) {
	t.Parallel()
	m, err := NewMetrics()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	r := &refunds{now: func() time.Time { return now }, pending: map[string]pendingRefund{}}
	m.registry.MustRegister(r.gauges()...)
	// An activity environment says what the interceptor asks: which activity it is.
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{counter(r)}})
	var fails error
	env.RegisterActivityWithOptions(func(context.Context) error { return fails }, activity.RegisterOptions{Name: "refund_customer"})
	refund := func(err error) {
		t.Helper()
		fails = err
		if _, got := env.ExecuteActivity("refund_customer"); (got == nil) != (err == nil) {
			t.Fatal(got)
		}
	}
	wantPending := func(count string) {
		t.Helper()
		want(t, scrape(t, m), "coffee_refunds_pending "+count)
	}
	wantPending("0")
	refund(errors.New("connection refused"))
	wantPending("1")
	refund(nil)
	wantPending("0")
	refund(errors.New("connection refused"))
	refund(temporal.NewNonRetryableApplicationError("refused", "Refused", nil))
	wantPending("0")

	r.try("order-1", now.Add(-90*time.Second))
	r.try("order-2", now.Add(-5*time.Second))
	want(t, scrape(t, m), "coffee_refunds_pending 2", "coffee_refunds_pending_age_seconds 90")
	now = now.Add(59 * time.Second)
	wantPending("2")
	now = now.Add(2 * time.Second)
	want(t, scrape(t, m), "coffee_refunds_pending 0", "coffee_refunds_pending_age_seconds 0")
}
