package coffee_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/mock"
	historypb "go.temporal.io/api/history/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"pgregory.net/rapid"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
)

var latte = coffee.OrderRequest{OrderID: "123", Drink: "latte", Size: coffee.SizeM}

// maxAttempts is what the contract says, and not read from [coffee.MaxAttempts].
const maxAttempts = 5

// kitchen runs one order in the SDK's test environment, where time is skipped.
// Its services take no time and write to a real ledger, in memory.
type kitchen struct {
	*testsuite.TestWorkflowEnvironment
	t          *testing.T
	ledger     ledger.Store
	activities *coffee.Activities

	// info, unless nil, changes what the workflow is told about itself.
	info func(*workflow.Info)
	// scheduled are the activities that the workflow has scheduled.
	scheduled []string
	past      *past

	mu       sync.Mutex
	attempts map[string]int
	started  time.Time
}

// quiet discards what the SDK logs.
var quiet = log.NewStructuredLogger(slog.New(slog.DiscardHandler))

func newKitchen(t *testing.T) *kitchen {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	k := &kitchen{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), t: t, ledger: memoryLedger(t), attempts: map[string]int{}}
	k.activities = coffee.NewActivities(coffee.NewServiceFactory(coffee.ServiceConfig{}, k.ledger, zerolog.Nop()))
	k.past = &past{runs: map[string][]*historypb.HistoryEvent{}}
	k.activities.Orders = coffee.NewClient(k.past, "default")
	k.activities.Register(k)
	k.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&watch{kitchen: k}}})
	(&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).Register(k)
	k.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: coffee.WorkflowID(latte.OrderID), TaskQueue: coffee.TaskQueue})
	k.started = k.Now()
	return k
}

// watch records what the kitchen's workflow schedules, and changes its info.
type watch struct {
	interceptor.WorkerInterceptorBase
	interceptor.WorkflowOutboundInterceptorBase
	kitchen *kitchen
}

func (w *watch) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &watchBegin{interceptor.WorkflowInboundInterceptorBase{Next: next}, w}
}

func (w *watch) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	w.kitchen.scheduled = append(w.kitchen.scheduled, name)
	return w.Next.ExecuteActivity(ctx, name, args...)
}

func (w *watch) GetInfo(ctx workflow.Context) *workflow.Info {
	info := *w.Next.GetInfo(ctx)
	if w.kitchen.info != nil {
		w.kitchen.info(&info)
	}
	return &info
}

// watchBegin passes a workflow's calls to its watch.
type watchBegin struct {
	interceptor.WorkflowInboundInterceptorBase
	watch *watch
}

func (b *watchBegin) Init(outbound interceptor.WorkflowOutboundInterceptor) error {
	b.watch.Next = outbound
	return b.Next.Init(b.watch)
}

// memoryLedger returns a real ledger in memory, which is closed when the test ends.
func memoryLedger(t *testing.T) ledger.Store {
	t.Helper()
	book, err := ledger.OpenMemory(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := book.Close(); err != nil {
			t.Error(err)
		}
	})
	return book
}

// step scripts an activity: how long each attempt takes, and how many attempts fail
// before one succeeds.
func step[In, Out any](k *kitchen, name string, activity func(context.Context, In) (Out, error), takes time.Duration, failures int) {
	call := k.OnActivity(name, mock.Anything, mock.Anything).Return(func(ctx context.Context, in In) (Out, error) {
		k.mu.Lock()
		k.attempts[name]++
		fail := k.attempts[name] <= failures
		k.mu.Unlock()
		if fail {
			var none Out
			return none, fmt.Errorf("%s is out of order", name)
		}
		return activity(ctx, in)
	})
	if takes > 0 {
		call.After(takes)
	}
}

// steps scripts four of the activities: how long an attempt takes, and how many
// attempts of each fail.
func (k *kitchen) steps(takes time.Duration, charge, brew, receipt, refund int) {
	step(k, coffee.ActivityChargeCustomer, k.activities.ChargeCustomer, takes, charge)
	step(k, coffee.ActivityBrewCoffee, k.activities.BrewCoffee, takes, brew)
	step(k, coffee.ActivitySendReceipt, k.activities.SendReceipt, takes, receipt)
	step(k, coffee.ActivityRefundCustomer, k.activities.RefundCustomer, 0, refund)
}

// order runs the workflow and returns its result.
func (k *kitchen) order() coffee.OrderResult {
	k.t.Helper()
	k.ExecuteWorkflow(coffee.WorkflowType, latte)
	if err := k.GetWorkflowError(); err != nil {
		k.t.Fatal(err)
	}
	var result coffee.OrderResult
	if err := k.GetWorkflowResult(&result); err != nil {
		k.t.Fatal(err)
	}
	return result
}

// took returns how long the order took by the workflow's clock.
func (k *kitchen) took() time.Duration { return k.Now().Sub(k.started) }

func (k *kitchen) state() coffee.OrderState {
	k.t.Helper()
	value, err := k.QueryWorkflow(coffee.QueryGetStatus)
	if err != nil {
		k.t.Fatal(err)
	}
	var state coffee.OrderState
	if err := value.Get(&state); err != nil {
		k.t.Fatal(err)
	}
	return state
}

// reset makes the workflow's run the product of a reset. The first run is not known any
// more; see [past].
func (k *kitchen) reset() {
	k.info = func(info *workflow.Info) { info.OriginalRunID = "first run" }
}

// charge charges the order, as the first run did.
func (k *kitchen) charge(amount coffee.Cents) {
	k.t.Helper()
	if _, err := k.ledger.Charge(context.Background(), coffee.Charge{OrderID: "123", RunID: "first run", Amount: amount}); err != nil {
		k.t.Fatal(err)
	}
}

// wantScheduled checks which activities the workflow has scheduled.
func (k *kitchen) wantScheduled(want ...string) {
	k.t.Helper()
	if !slices.Equal(k.scheduled, want) {
		k.t.Errorf("it scheduled %v, want %v", k.scheduled, want)
	}
}

// wantNet checks what must always hold: a customer without a coffee has paid
// nothing.
func (k *kitchen) wantNet(result coffee.OrderResult) {
	k.t.Helper()
	balance, err := k.ledger.Balance(context.Background())
	if err != nil {
		k.t.Fatal(err)
	}
	want := coffee.Cents(0)
	if result.Status == coffee.StatusCompleted {
		want = result.AmountCents
	}
	if balance.Net() != want || balance.Charges > 1 || balance.Refunds > 1 {
		k.t.Errorf("the ledger has %+v after %+v", balance, result)
	}
	if result.Refunded != (balance.Refunds == 1) {
		k.t.Errorf("refunded is %v, and the ledger has %d refunds", result.Refunded, balance.Refunds)
	}
}

func (k *kitchen) want(got, want coffee.OrderResult) {
	k.t.Helper()
	want.OrderID, want.AmountCents = "123", 525
	if got != want {
		k.t.Errorf("got  %+v\nwant %+v", got, want)
	}
	k.wantNet(got)
}

func TestOrderCompletes(t *testing.T) {
	t.Parallel()
	k := newKitchen(t)
	k.want(k.order(), coffee.OrderResult{Status: coffee.StatusCompleted, Charged: true, Brewed: true, ReceiptSent: true})
	want := coffee.OrderState{
		OrderID: "123", Charged: true, Brewed: true, ReceiptSent: true, AmountCents: 525,
		Stage: coffee.StageDone, Drink: "latte", Size: coffee.SizeM, Pricing: "standard",
	}
	if got := k.state(); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestEndingInTheWebUI: the Web UI, where every order's workflow is "Completed", shows
// how the order ended.
func TestEndingInTheWebUI(t *testing.T) {
	t.Parallel()
	for want, brewFailures := range map[string]int{
		"latte (M), $5.25: COMPLETED":                                     0,
		"latte (M), $5.25: FAILED, refunded: brew_coffee is out of order": coffee.MaxAttempts,
	} {
		k := newKitchen(t)
		k.steps(0, 0, brewFailures, 0, 0)
		k.order()
		value, err := k.QueryWorkflow("__temporal_workflow_metadata")
		if err != nil {
			t.Fatal(err)
		}
		var metadata sdkpb.WorkflowMetadata
		if err := value.Get(&metadata); err != nil {
			t.Fatal(err)
		}
		if metadata.GetCurrentDetails() != want {
			t.Errorf("%q, want %q", metadata.GetCurrentDetails(), want)
		}
	}
}

func TestEachStepFails(t *testing.T) {
	t.Parallel()
	completed := coffee.OrderResult{Status: coffee.StatusCompleted, Charged: true, Brewed: true, ReceiptSent: true}
	for _, test := range []struct {
		name                  string
		charge, brew, receipt int
		want                  coffee.OrderResult
	}{
		{name: coffee.ActivityChargeCustomer, charge: 1, want: completed},
		{name: coffee.ActivityBrewCoffee, brew: 1, want: completed},
		{name: coffee.ActivitySendReceipt, receipt: 1, want: completed},
	} {
		forGood := map[string]coffee.OrderResult{
			coffee.ActivityChargeCustomer: {Status: coffee.StatusFailed},
			coffee.ActivityBrewCoffee:     {Status: coffee.StatusFailed, Charged: true, Refunded: true},
			coffee.ActivitySendReceipt:    {Status: coffee.StatusCompleted, Charged: true, Brewed: true},
		}[test.name]
		forGood.Failure = test.name + " is out of order"
		for times := 1; times <= maxAttempts; times++ {
			t.Run(fmt.Sprintf("%s %d times", test.name, times), func(t *testing.T) {
				t.Parallel()
				k := newKitchen(t)
				k.steps(0, times*test.charge, times*test.brew, times*test.receipt, 0)
				result := k.order()
				want, attempts := test.want, times+1
				if times == maxAttempts {
					want, attempts = forGood, maxAttempts
				}
				k.want(result, want)
				if got := k.attempts[test.name]; got != attempts {
					t.Errorf("got %d attempts, want %d", got, attempts)
				}
				backoff := []time.Duration{0, 1, 3, 7, 15}[attempts-1] * time.Second // 1 + 2 + 4 + 8
				if k.took() != backoff {
					t.Errorf("it took %v, want %v", k.took(), backoff)
				}
			})
		}
	}
}

// TestCancel cancels an order at each stage, by signal and by Temporal's own
// cancellation. Each step takes two seconds.
func TestCancel(t *testing.T) {
	t.Parallel()
	const takes = 2 * time.Second
	signal := func(k *kitchen) { k.SignalWorkflow(coffee.SignalCancelOrder, nil) }
	for way, cancel := range map[string]func(*kitchen){
		"signal": signal,
		"signal with a reason": func(k *kitchen) {
			k.SignalWorkflow(coffee.SignalCancelOrder, coffee.CancelRequest{Reason: "changed my mind"})
		},
		"signal with nonsense": func(k *kitchen) { k.SignalWorkflow(coffee.SignalCancelOrder, []int{1, 2}) },
		"signal twice":         func(k *kitchen) { signal(k); signal(k) },
		"native":               func(k *kitchen) { k.CancelWorkflow() },
	} {
		for _, test := range []struct {
			name         string
			at           time.Duration
			charge, brew int // attempts that fail
			want         coffee.OrderResult
			took         time.Duration
			attempts     map[string]int
		}{
			{
				name: "before the charge", at: 0,
				want: coffee.OrderResult{Status: coffee.StatusCancelled}, took: 0,
			},
			{
				name: "while the charge is under way", at: time.Second,
				want: coffee.OrderResult{Status: coffee.StatusCancelled}, took: time.Second,
			},
			{
				name: "while the charge is backing off", at: takes + time.Second/2, charge: 1,
				want: coffee.OrderResult{Status: coffee.StatusCancelled}, took: takes + time.Second/2,
			},
			{
				name: "while the brew is under way", at: takes + time.Second,
				want: coffee.OrderResult{Status: coffee.StatusCancelled, Charged: true, Refunded: true}, took: takes + time.Second,
			},
			{
				name: "while the brew is backing off", at: 2*takes + time.Second/2, brew: 1,
				want: coffee.OrderResult{Status: coffee.StatusCancelled, Charged: true, Refunded: true}, took: 2*takes + time.Second/2,
			},
			{
				name: "while the receipt is under way", at: 2*takes + time.Second,
				want: coffee.OrderResult{Status: coffee.StatusCompleted, Charged: true, Brewed: true, ReceiptSent: true}, took: 3 * takes,
			},
		} {
			t.Run(way+" "+test.name, func(t *testing.T) {
				t.Parallel()
				k := newKitchen(t)
				k.steps(takes, test.charge, test.brew, 0, 0)
				k.RegisterDelayedCallback(func() { cancel(k) }, test.at)
				result := k.order()
				k.want(result, test.want)
				if k.took() != test.took {
					t.Errorf("it took %v, want %v", k.took(), test.took)
				}
				state := k.state()
				if state.Cancelled != (result.Status == coffee.StatusCancelled) {
					t.Errorf("cancelled is %v in the state of %+v", state.Cancelled, result)
				}
				if way == "signal with a reason" && state.Cancelled && state.CancelReason != "changed my mind" {
					t.Errorf("the reason is %q", state.CancelReason)
				}
				// A charge for a cancelled order is refused, however late it comes.
				if result.Status == coffee.StatusCancelled {
					_, err := k.ledger.Charge(context.Background(), coffee.Charge{OrderID: "123", RunID: k.runID(), Amount: 525})
					if test.at > 0 && !errors.Is(err, coffee.ErrSettled) {
						t.Errorf("a late charge: got %v, want %v", err, coffee.ErrSettled)
					}
				}
			})
		}
	}
}

// runID returns the run id that the test environment gave the workflow.
func (k *kitchen) runID() string {
	entries, err := k.ledger.Entries(context.Background(), "123")
	if err != nil {
		k.t.Fatal(err)
	}
	if len(entries) == 0 {
		return "run"
	}
	return entries[0].RunID
}

// TestCancelTogetherWithTheEndOfAStep: a signal that the worker sees in the same
// workflow task as the end of a step is in time, and the next step does not begin.
func TestCancelTogetherWithTheEndOfAStep(t *testing.T) {
	t.Parallel()
	cancelled := func(k *kitchen) { k.SignalWorkflowSkippingWorkflowTask(coffee.SignalCancelOrder, nil) }
	t.Run("charge", func(t *testing.T) {
		t.Parallel()
		k := newKitchen(t)
		k.OnActivity(coffee.ActivityChargeCustomer, mock.Anything, mock.Anything).Return(func(ctx context.Context, in coffee.ChargeInput) (bool, error) {
			cancelled(k)
			return k.activities.ChargeCustomer(ctx, in)
		})
		k.want(k.order(), coffee.OrderResult{Status: coffee.StatusCancelled, Charged: true, Refunded: true})
		k.wantScheduled("charge_customer", "refund_customer")
	})
	t.Run("brew", func(t *testing.T) {
		t.Parallel()
		k := newKitchen(t)
		k.OnActivity(coffee.ActivityBrewCoffee, mock.Anything, mock.Anything).Return(func(ctx context.Context, in coffee.BrewInput) (bool, error) {
			cancelled(k)
			return k.activities.BrewCoffee(ctx, in)
		})
		k.want(k.order(), coffee.OrderResult{Status: coffee.StatusCancelled, Charged: true, Brewed: true, Refunded: true})
		k.wantScheduled("charge_customer", "brew_coffee", "refund_customer")
	})
}

// TestReceiptIsRefused: the payment was refunded before the coffee was handed out. The
// order fails, and the workflow does not go on to deliver the coffee.
func TestReceiptIsRefused(t *testing.T) {
	t.Parallel()
	k := newKitchen(t)
	k.OnActivity(coffee.ActivitySendReceipt, mock.Anything, mock.Anything).Return(func(ctx context.Context, in coffee.ReceiptInput) (bool, error) {
		if _, err := k.ledger.Refund(ctx, "123", k.runID()); err != nil {
			return false, err
		}
		return k.activities.SendReceipt(ctx, in)
	})
	k.want(k.order(), coffee.OrderResult{Status: coffee.StatusFailed, Charged: true, Brewed: true, Refunded: true, Failure: "the order was refunded or voided already"})
	k.wantScheduled("charge_customer", "brew_coffee", "send_receipt", "refund_customer")
}

// TestCancelTooLate: cancel signals that come after the brew are drained, or the SDK
// would warn that they were lost.
func TestCancelTooLate(t *testing.T) {
	t.Parallel()
	k := newKitchen(t)
	k.steps(2*time.Second, 0, 0, 0, 0)
	var unread []string
	k.RegisterWorkflowWithOptions(func(ctx workflow.Context, input converter.RawValue) (coffee.OrderResult, error) {
		result, err := (&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).OrderCoffeeWorkflow(ctx, input)
		unread = workflow.GetUnhandledSignalNames(ctx)
		return result, err
	}, workflow.RegisterOptions{Name: "wrapped"})
	for range 2 {
		k.RegisterDelayedCallback(func() { k.SignalWorkflow(coffee.SignalCancelOrder, nil) }, 5*time.Second)
	}
	k.ExecuteWorkflow("wrapped", latte)
	var result coffee.OrderResult
	if err := k.GetWorkflowResult(&result); err != nil || result.Status != coffee.StatusCompleted {
		t.Errorf("got %+v, %v", result, err)
	}
	if len(unread) > 0 {
		t.Errorf("signals left unread: %v", unread)
	}
}

// TestCancelBeforeTheCharge: the first run has nothing to refund. A run created by a
// reset refunds what an earlier run charged.
func TestCancelBeforeTheCharge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		reset     bool
		want      coffee.OrderResult
		scheduled []string
	}{
		"first run": {false, coffee.OrderResult{Status: coffee.StatusCancelled}, nil},
		"reset":     {true, coffee.OrderResult{Status: coffee.StatusCancelled, Charged: true, Refunded: true}, []string{"recall_order", "refund_customer"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKitchen(t)
			if test.reset {
				k.reset()
				k.charge(525)
			} else {
				k.info = func(info *workflow.Info) { info.OriginalRunID = info.WorkflowExecution.RunID }
			}
			k.RegisterDelayedCallback(func() { k.SignalWorkflow(coffee.SignalCancelOrder, nil) }, 0)
			k.want(k.order(), test.want)
			k.wantScheduled(test.scheduled...)
		})
	}
}

// TestHandedOutBeforeAReset: an earlier run handed out the coffee, so it is too late
// for the order to be cancelled or to fail.
func TestHandedOutBeforeAReset(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(*kitchen){
		"cancelled": func(k *kitchen) {
			k.RegisterDelayedCallback(func() { k.SignalWorkflow(coffee.SignalCancelOrder, nil) }, 0)
		},
		"failed": func(k *kitchen) { k.steps(0, maxAttempts, 0, 0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKitchen(t)
			k.reset()
			k.charge(525)
			if err := k.ledger.Deliver(context.Background(), "123"); err != nil {
				t.Fatal(err)
			}
			meanwhile(k)
			k.want(k.order(), coffee.OrderResult{Status: coffee.StatusCompleted, Charged: true, Brewed: true, ReceiptSent: true})
			if state := k.state(); state.Cancelled || state.Failure != "" {
				t.Errorf("got %+v", state)
			}
		})
	}
}

func TestCancelWhileFailing(t *testing.T) {
	t.Parallel()
	k := newKitchen(t)
	k.steps(0, 0, maxAttempts, 0, 3)
	k.RegisterDelayedCallback(func() { k.SignalWorkflow(coffee.SignalCancelOrder, nil) }, 16*time.Second) // the refund is being retried
	k.want(k.order(), coffee.OrderResult{Status: coffee.StatusFailed, Charged: true, Refunded: true, Failure: "brew_coffee is out of order"})
}

func TestRefundIsTriedUntilItSucceeds(t *testing.T) {
	t.Parallel()
	const failures = 9 // the test environment gives up after ten attempts; a server never does
	for _, cancelled := range []bool{false, true} {
		k := newKitchen(t)
		k.steps(0, 0, maxAttempts, 0, failures)
		want := coffee.OrderResult{Status: coffee.StatusFailed, Charged: true, Refunded: true, Failure: "brew_coffee is out of order"}
		began := 15 * time.Second // after four backoffs of the brew
		if cancelled {
			want.Status, want.Failure, began = coffee.StatusCancelled, "", time.Second/2
			k.RegisterDelayedCallback(k.CancelWorkflow, time.Second/2)
			// Nothing interrupts a refund, not even another cancel.
			k.RegisterDelayedCallback(k.CancelWorkflow, 10*time.Second)
			k.RegisterDelayedCallback(func() { k.SignalWorkflow(coffee.SignalCancelOrder, nil) }, time.Minute)
		}
		k.want(k.order(), want)
		if got := k.attempts[coffee.ActivityRefundCustomer]; got != failures+1 {
			t.Errorf("got %d attempts to refund, want %d", got, failures+1)
		}
		// 1 + 2 + 4 + 8 + 16 + 4 x 30
		if backoff := k.took() - began; backoff != 151*time.Second {
			t.Errorf("the pauses between the refunds add up to %v", backoff)
		}
	}
}

// TestLostCharge: the charge was committed, but every answer was lost.
func TestLostCharge(t *testing.T) {
	t.Parallel()
	k := newKitchen(t)
	k.OnActivity(coffee.ActivityChargeCustomer, mock.Anything, mock.Anything).Return(func(ctx context.Context, in coffee.ChargeInput) (bool, error) {
		if _, err := k.activities.ChargeCustomer(ctx, in); err != nil {
			return false, err
		}
		return false, errors.New("connection lost")
	})
	k.want(k.order(), coffee.OrderResult{Status: coffee.StatusFailed, Charged: true, Refunded: true, Failure: "connection lost"})
}

// TestOrderIDComesBack: an earlier order with the same id was charged, and its
// history is gone.
func TestOrderIDComesBack(t *testing.T) {
	t.Parallel()
	k := newKitchen(t)
	if _, err := k.ledger.Charge(context.Background(), coffee.Charge{"123", "earlier run", 525}); err != nil {
		t.Fatal(err)
	}
	result := k.order()
	if want := (coffee.OrderResult{OrderID: "123", Status: coffee.StatusFailed, AmountCents: 525, Failure: "an earlier order of the same id was charged already"}); result != want {
		t.Errorf("got  %+v\nwant %+v", result, want)
	}
	if got := k.state().Failure; got != coffee.ErrDuplicateOrder.Error() {
		t.Errorf("the failure is %q", got)
	}
	if k.took() != 0 {
		t.Errorf("it took %v: a refusal was retried", k.took())
	}
	entries, err := k.ledger.Entries(context.Background(), "123")
	if err != nil || len(entries) != 1 || entries[0].RunID != "earlier run" {
		t.Errorf("the ledger has %v, %v", entries, err)
	}
}

// TestCron: an order with a cron schedule is refused. It ends as cancelled, because a
// failure would not end the schedule.
func TestCron(t *testing.T) {
	t.Parallel()
	k := newKitchen(t)
	k.info = func(info *workflow.Info) { info.CronSchedule = "0 7 * * *" }
	k.ExecuteWorkflow(coffee.WorkflowType, latte)
	err := k.GetWorkflowError()
	var cancelled *temporal.CanceledError
	var problem string
	if !errors.As(err, &cancelled) || cancelled.Details(&problem) != nil || !strings.Contains(problem, "cron schedule") {
		t.Errorf("got %v, problem %q", err, problem)
	}
	k.wantScheduled()
}

// TestPriceByTheWorkflowsClock: the price depends on the time at which the order is
// accepted.
func TestPriceByTheWorkflowsClock(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]coffee.Cents{"14:59": 525, "15:00": 420, "16:59": 420, "17:00": 525} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			accepted, err := time.Parse(time.RFC3339, "2026-11-24T"+at+":00Z")
			if err != nil {
				t.Fatal(err)
			}
			k := newKitchen(t)
			k.SetStartTime(accepted)
			happyHour := coffee.HappyHourPricing{Regular: coffee.StandardPricing{}, FromHour: 15, ToHour: 17, PercentOff: 20}
			k.RegisterWorkflowWithOptions((&coffee.OrderWorkflow{Pricing: happyHour}).OrderCoffeeWorkflow, workflow.RegisterOptions{Name: "happy"})
			k.ExecuteWorkflow("happy", latte)
			var result coffee.OrderResult
			if err := k.GetWorkflowResult(&result); err != nil || result.AmountCents != want {
				t.Errorf("got %+v, %v; want %s", result, err, want)
			}
			k.wantNet(result)
		})
	}
}

// TestPriceIsPinned: the price of an order is decided once, whatever the price list
// says when the order is charged.
func TestPriceIsPinned(t *testing.T) {
	t.Parallel()
	k := newKitchen(t)
	prices := &risingPrices{}
	k.RegisterWorkflowWithOptions((&coffee.OrderWorkflow{Pricing: prices}).OrderCoffeeWorkflow, workflow.RegisterOptions{Name: "rising"})
	k.ExecuteWorkflow("rising", latte)
	var result coffee.OrderResult
	if err := k.GetWorkflowResult(&result); err != nil {
		t.Fatal(err)
	}
	if prices.asked != 1 || result.AmountCents != 1 || k.state().Pricing != "rising" {
		t.Errorf("asked %d times, got %+v, priced by %s", prices.asked, result, k.state().Pricing)
	}
	k.wantNet(result)
}

// risingPrices rise each time a price is computed.
type risingPrices struct{ asked int }

func (*risingPrices) Name() string { return "rising" }

func (p *risingPrices) Price(coffee.OrderRequest, time.Time) coffee.Cents {
	p.asked++
	return coffee.Cents(p.asked)
}

func TestInvalidInput(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		input []any
		want  string
	}{
		"no input":                 {nil, "no input"},
		"null":                     {[]any{nil}, "bad order id"},
		"a string":                 {[]any{"latte"}, "not an order"},
		"a number":                 {[]any{42}, "not an order"},
		"a list":                   {[]any{[]string{"123", "latte", "M"}}, "not an order"},
		"fields of the wrong type": {[]any{map[string]any{"order_id": 123, "drink": "latte", "size": "M"}}, "not an order"},
		"bytes":                    {[]any{[]byte{1, 2, 3}}, "not an order"},
		"unknown drink":            {[]any{coffee.OrderRequest{"123", "tea", coffee.SizeM}}, `no such drink: "tea"`},
		"unknown size":             {[]any{coffee.OrderRequest{"123", "latte", "XL"}}, `no such size: "XL"`},
		"no size":                  {[]any{map[string]any{"order_id": "123", "drink": "latte"}}, `no such size: ""`},
		"bad id":                   {[]any{coffee.OrderRequest{"1 2 3", "latte", coffee.SizeM}}, "bad order id"},
		"another id":               {[]any{coffee.OrderRequest{"124", "latte", coffee.SizeM}}, `the workflow id is "order-123"`},
		"control characters":       {[]any{coffee.OrderRequest{"123", "\x1b[2J\u202e", coffee.SizeM}}, `no such drink: "\x1b[2j\u202e"`},
		"a long drink":             {[]any{coffee.OrderRequest{"123", coffee.Drink(strings.Repeat("latte", 400_000)), coffee.SizeM}}, "no such drink"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKitchen(t)
			k.ExecuteWorkflow(coffee.WorkflowType, test.input...)
			var application *temporal.ApplicationError
			if err := k.GetWorkflowError(); !errors.As(err, &application) {
				t.Fatalf("got %v, want an application error", err)
			}
			if !application.NonRetryable() || application.Type() != coffee.ErrorTypeInvalidOrder || !strings.Contains(application.Message(), test.want) {
				t.Errorf("got %v (%s), want %q", application, application.Type(), test.want)
			}
			if len(application.Message()) > 1000 {
				t.Errorf("the message has %d characters", len(application.Message()))
			}
			if balance, err := k.ledger.Balance(context.Background()); err != nil || balance != (ledger.Balance{}) {
				t.Errorf("the ledger has %+v, %v", balance, err)
			}
		})
	}
}

// TestExtraFieldsAndCase: fields may be added to the contract, and other
// clients may write a drink in capitals.
func TestExtraFieldsAndCase(t *testing.T) {
	t.Parallel()
	k := newKitchen(t)
	k.ExecuteWorkflow(coffee.WorkflowType, map[string]any{"order_id": "123", "drink": "LATTE", "size": "m", "milk": "oat"}, "another argument")
	var result coffee.OrderResult
	if err := k.GetWorkflowResult(&result); err != nil || result.Status != coffee.StatusCompleted || result.AmountCents != 525 {
		t.Errorf("got %+v, %v", result, err)
	}
}

// TestAnythingCanHappen cancels at random moments while random attempts fail.
// A failure prints the seed.
func TestAnythingCanHappen(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		failures := rapid.IntRange(0, maxAttempts)
		takes := rapid.IntRange(0, 3000).Draw(rt, "takes")
		k := newKitchen(t)
		k.steps(time.Duration(takes)*time.Millisecond, failures.Draw(rt, "charge"), failures.Draw(rt, "brew"), failures.Draw(rt, "receipt"), failures.Draw(rt, "refund"))
		for _, at := range rapid.SliceOfN(rapid.IntRange(0, 40_000), 0, 3).Draw(rt, "cancels") {
			cancel := k.CancelWorkflow
			if rapid.Bool().Draw(rt, "by signal") {
				cancel = func() { k.SignalWorkflow(coffee.SignalCancelOrder, nil) }
			}
			k.RegisterDelayedCallback(cancel, time.Duration(at)*time.Millisecond)
		}
		k.wantNet(k.order())
		if t.Failed() {
			rt.FailNow()
		}
	})
}
