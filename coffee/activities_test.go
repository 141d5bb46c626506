package coffee_test

import (
	"context"
	"errors"
	"testing"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"example.com/coffee/coffee"
)

// activityEnvironment runs single activities, whose services write to the ledger.
func activityEnvironment(config coffee.ServiceConfig, ledger coffee.Ledger) *testsuite.TestActivityEnvironment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestActivityEnvironment()
	coffee.NewActivities(coffee.NewServiceFactory(config, ledger, zerolog.Nop())).Register(env)
	return env
}

// charged returns a ledger in which run "run" has charged order 123.
func charged(t *testing.T) coffee.Ledger {
	t.Helper()
	book := memoryLedger(t)
	if _, err := book.Charge(context.Background(), coffee.Charge{OrderID: "123", RunID: "run", Amount: 525}); err != nil {
		t.Fatal(err)
	}
	return book
}

// TestBrewWithoutPayment: the machine is started only for a coffee that is paid for
// and not yet handed out. This machine always jams, so an attempt that ends otherwise
// did not start it.
func TestBrewWithoutPayment(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, test := range map[string]struct {
		before func(coffee.Ledger) error
		want   string // the type of the error
	}{
		"paid":       {func(coffee.Ledger) error { return nil }, "Jammed"},
		"handed out": {func(l coffee.Ledger) error { return l.Deliver(ctx, "123") }, ""},
		"refunded":   {func(l coffee.Ledger) error { _, err := l.Refund(ctx, "123", "run"); return err }, "Refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			book := charged(t)
			if err := test.before(book); err != nil {
				t.Fatal(err)
			}
			result, err := activityEnvironment(coffee.ServiceConfig{BrewFailureRate: 1}, book).
				ExecuteActivity("brew_coffee", coffee.BrewInput{OrderID: "123", Drink: "latte", Size: "M"})
			if test.want != "" {
				wantApplicationError(t, err, test.want)
				return
			}
			var brewed bool
			if err != nil || result.Get(&brewed) != nil || !brewed {
				t.Errorf("got %v, %v", brewed, err)
			}
		})
	}
}

func wantApplicationError(t *testing.T, err error, kind string) *temporal.ApplicationError {
	t.Helper()
	var application *temporal.ApplicationError
	if !errors.As(err, &application) || application.Type() != kind {
		t.Fatalf("got %v, want an application error of type %s", err, kind)
	}
	return application
}

// TestRefundWhileBrewing: the order is refunded after the attempt has begun, so the
// brew does not count.
func TestRefundWhileBrewing(t *testing.T) {
	t.Parallel()
	_, err := activityEnvironment(coffee.ServiceConfig{}, refundedOnceSeen{charged(t)}).
		ExecuteActivity("brew_coffee", coffee.BrewInput{OrderID: "123", Drink: "latte", Size: "M"})
	wantApplicationError(t, err, "Refused")
}

// refundedOnceSeen is a ledger that refunds a charge right after it was seen to
// stand.
type refundedOnceSeen struct{ coffee.Ledger }

func (l refundedOnceSeen) Paid(ctx context.Context, orderID string) (bool, error) {
	delivered, err := l.Ledger.Paid(ctx, orderID)
	if err == nil {
		_, err = l.Refund(ctx, orderID, "run")
	}
	return delivered, err
}

// TestWhoseCharge: charge and refund belong to the original run, whose id the workflow
// sends. If it sends none, they belong to the run of the activity.
func TestWhoseCharge(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{"first run": "first run", "": "default-test-run-id"} {
		book := memoryLedger(t)
		env := activityEnvironment(coffee.ServiceConfig{}, book)
		_, charge := env.ExecuteActivity("charge_customer", coffee.ChargeInput{OrderID: "123", AmountCents: 525, RunID: sent})
		_, refund := env.ExecuteActivity("refund_customer", coffee.RefundInput{OrderID: "123", RunID: sent})
		entries, err := book.Entries(context.Background(), "123")
		if err := errors.Join(charge, refund, err); err != nil || len(entries) != 2 || entries[0].RunID != want || entries[1].RunID != want {
			t.Errorf("run %q was sent: the ledger has %v, %v", sent, entries, err)
		}
	}
}

// TestActivityErrors: a jam is retried, and the rest is final. Failures that are part
// of normal operation are benign, so that the SDK does not log them as errors.
func TestActivityErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		activity      string
		input         any
		want          string
		final, benign bool
	}{
		"jam":         {"brew_coffee", coffee.BrewInput{OrderID: "123"}, "Jammed", false, true},
		"refusal":     {"charge_customer", coffee.ChargeInput{OrderID: "123", AmountCents: 525, RunID: "another run"}, "Refused", true, true},
		"bad input":   {"charge_customer", coffee.ChargeInput{OrderID: "1 2 3", AmountCents: 525}, "InvalidInput", true, false},
		"bad brew":    {"brew_coffee", coffee.BrewInput{}, "InvalidInput", true, false},
		"bad receipt": {"send_receipt", coffee.ReceiptInput{}, "InvalidInput", true, false},
		"bad refund":  {"refund_customer", coffee.RefundInput{}, "InvalidInput", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := activityEnvironment(coffee.ServiceConfig{BrewFailureRate: 1}, charged(t)).ExecuteActivity(test.activity, test.input)
			failure := wantApplicationError(t, err, test.want)
			benign := failure.Category() == temporal.ApplicationErrorCategoryBenign
			if failure.NonRetryable() != test.final || benign != test.benign {
				t.Errorf("final is %v and benign is %v; want %v and %v", failure.NonRetryable(), benign, test.final, test.benign)
			}
		})
	}
}
