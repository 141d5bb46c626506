package coffee_test

import (
	"context"
	"errors"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee"
)

// past is a server that knows the earlier runs of an order.
type past struct {
	client.Client
	// runs are their histories, by run id. One that is missing was deleted.
	runs map[string][]*historypb.HistoryEvent
	// resets are the runs that a reset of each began.
	resets map[string]string
	// away is how many calls fail.
	away int
}

func (p *past) GetWorkflowHistory(_ context.Context, _, runID string, _ bool, _ enumspb.HistoryEventFilterType) client.HistoryEventIterator {
	events, ok := p.runs[runID]
	var err error
	if !ok {
		err = serviceerror.NewNotFound("no such run")
	}
	if p.away > 0 {
		p.away--
		err = serviceerror.NewUnavailable("away")
	}
	return &pastEvents{events, err}
}

func (p *past) DescribeWorkflowExecution(_ context.Context, _, runID string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	return &workflowservice.DescribeWorkflowExecutionResponse{
		WorkflowExtendedInfo: &workflowpb.WorkflowExecutionExtendedInfo{ResetRunId: p.resets[runID]},
	}, nil
}

// pastEvents iterates over events, or returns the error.
type pastEvents struct {
	events []*historypb.HistoryEvent
	err    error
}

func (e *pastEvents) HasNext() bool { return e.err != nil || len(e.events) > 0 }

func (e *pastEvents) Next() (*historypb.HistoryEvent, error) {
	if e.err != nil {
		return nil, e.err
	}
	next := e.events[0]
	e.events = e.events[1:]
	return next, nil
}

// decided returns the history of a run that decided this when it started.
func decided(decision map[string]any) []*historypb.HistoryEvent {
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(decision)
	if err != nil {
		panic(err)
	}
	marker := func(name string, data *commonpb.Payloads) *historypb.HistoryEvent {
		return &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_MarkerRecordedEventAttributes{MarkerRecordedEventAttributes: &historypb.MarkerRecordedEventAttributes{
			MarkerName: name, Details: map[string]*commonpb.Payloads{"data": data},
		}}}
	}
	events := []*historypb.HistoryEvent{{}, marker("Version", nil), marker("SideEffect", payloads)}
	for i, event := range events {
		event.EventId = int64(i) + 1
	}
	return events
}

func acceptedAt(price coffee.Cents) []*historypb.HistoryEvent {
	return decided(map[string]any{"pricing": "happy-hour", "amount_cents": price, "order": latte})
}

func refused() []*historypb.HistoryEvent {
	return decided(map[string]any{"problem": "no such drink", "amount_cents": 0})
}

// TestResetKeepsWhatWasAccepted: an order that was accepted stays accepted at its price
// when a reset takes it back to its beginning, whatever the menu and the prices are now.
func TestResetKeepsWhatWasAccepted(t *testing.T) {
	t.Parallel()
	gone := coffee.OrderRequest{OrderID: "123", Drink: " Unicorn-Latte", Size: "xxl"} // no longer on the menu
	for name, test := range map[string]struct {
		request coffee.OrderRequest
		before  func(*kitchen)
		want    coffee.Cents // 0: refused
	}{
		"charged":                    {latte, func(k *kitchen) { k.charge(420) }, 420},
		"charged, and off the menu":  {gone, func(k *kitchen) { k.charge(420) }, 420},
		"accepted":                   {latte, func(k *kitchen) { k.past.runs["first run"] = acceptedAt(420) }, 420},
		"accepted, and off the menu": {gone, func(k *kitchen) { k.past.runs["first run"] = acceptedAt(420) }, 420},
		"charged at another price": {latte, func(k *kitchen) {
			k.past.runs["first run"] = acceptedAt(400)
			k.charge(420)
		}, 420},
		"accepted in the second run": {gone, func(k *kitchen) {
			k.past.runs["first run"], k.past.runs["second run"] = refused(), acceptedAt(420)
			k.past.resets = map[string]string{"first run": "second run", "second run": "default-test-run-id"}
		}, 420},
		"the first of two counts": {latte, func(k *kitchen) {
			k.past.runs["first run"], k.past.runs["second run"] = acceptedAt(420), acceptedAt(400)
			k.past.resets = map[string]string{"first run": "second run"}
		}, 420},
		"accepted, and the server was away":  {latte, func(k *kitchen) { k.past.runs["first run"], k.past.away = acceptedAt(420), 3 }, 420},
		"stopped before it was accepted":     {latte, func(k *kitchen) { k.past.runs["first run"] = []*historypb.HistoryEvent{{EventId: 1}} }, 525},
		"deleted":                            {latte, func(*kitchen) {}, 525},
		"refused, and on the menu by now":    {latte, func(k *kitchen) { k.past.runs["first run"] = refused() }, 525},
		"refused, and still not on the menu": {gone, func(k *kitchen) { k.past.runs["first run"] = refused() }, 0},
		"another order was charged": {gone, func(k *kitchen) {
			if _, err := k.ledger.Charge(context.Background(), coffee.Charge{OrderID: "123", RunID: "another", Amount: 420}); err != nil {
				k.t.Fatal(err)
			}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKitchen(t)
			k.reset()
			test.before(k)
			k.ExecuteWorkflow(coffee.WorkflowType, test.request)
			err := k.GetWorkflowError()
			if test.want == 0 {
				var refused *temporal.ApplicationError
				if !errors.As(err, &refused) || refused.Type() != coffee.ErrorTypeInvalidOrder {
					t.Errorf("got %v", err)
				}
				k.wantScheduled("recall_order", "refund_customer") // the ledger was asked
				return
			}
			var result coffee.OrderResult
			if err != nil || k.GetWorkflowResult(&result) != nil || result.Status != coffee.StatusCompleted || result.AmountCents != test.want {
				t.Errorf("got %+v, %v", result, err)
			}
			if state := k.state(); state.AmountCents != test.want {
				t.Errorf("the state is %+v", state)
			}
			k.wantNet(result)
		})
	}
}

// TestResetAfterTheHappyHour: an order that was accepted in the happy hour costs no more
// when it is reset after it.
func TestResetAfterTheHappyHour(t *testing.T) {
	t.Parallel()
	k := newKitchen(t)
	k.reset()
	k.past.runs["first run"] = acceptedAt(420)
	k.SetStartTime(time.Date(2026, 11, 24, 17, 30, 0, 0, time.UTC))
	happyHour := coffee.HappyHourPricing{Regular: coffee.StandardPricing{}, FromHour: 15, ToHour: 17, PercentOff: 20}
	k.RegisterWorkflowWithOptions((&coffee.OrderWorkflow{Pricing: happyHour}).OrderCoffeeWorkflow, workflow.RegisterOptions{Name: "happy"})
	k.ExecuteWorkflow("happy", latte)
	var result coffee.OrderResult
	if err := k.GetWorkflowResult(&result); err != nil || result.AmountCents != 420 || k.state().Pricing != "happy-hour" {
		t.Errorf("got %+v, %v", result, err)
	}
	k.wantNet(result)
}

// TestChargedWhileBeingReset: an attempt of an earlier run, which nothing is known of,
// charges its own price after this run has decided. That is the price.
func TestChargedWhileBeingReset(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cancelled bool
		want      coffee.OrderResult
	}{
		"goes on":   {false, coffee.OrderResult{OrderID: "123", Status: coffee.StatusCompleted, Charged: true, Brewed: true, ReceiptSent: true, AmountCents: 420}},
		"cancelled": {true, coffee.OrderResult{OrderID: "123", Status: coffee.StatusCancelled, Charged: true, AmountCents: 420, Refunded: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKitchen(t)
			k.reset()
			step(k, coffee.ActivityChargeCustomer, func(ctx context.Context, in coffee.ChargeInput) (bool, error) {
				k.charge(420)
				if test.cancelled {
					return false, errors.New("too slow")
				}
				return k.activities.ChargeCustomer(ctx, in)
			}, 0, 0)
			if test.cancelled { // while the next attempt waits
				k.RegisterDelayedCallback(func() { k.SignalWorkflow(coffee.SignalCancelOrder, nil) }, time.Second/2)
			}
			result := k.order()
			if result != test.want || k.state().AmountCents != 420 {
				t.Errorf("got %+v, state %+v", result, k.state())
			}
			k.wantNet(result)
		})
	}
}

// TestResetOfASettledOrder: an order that was cancelled and refunded gets no coffee after
// a reset that leaves out the cancel, at whatever price.
func TestResetOfASettledOrder(t *testing.T) {
	t.Parallel()
	k := newKitchen(t)
	k.reset()
	k.charge(420)
	if _, err := k.ledger.Refund(context.Background(), "123", "first run"); err != nil {
		t.Fatal(err)
	}
	result := k.order()
	if want := (coffee.OrderResult{OrderID: "123", Status: coffee.StatusFailed, Charged: true, AmountCents: 420, Refunded: true, Failure: "the order was refunded or voided already"}); result != want {
		t.Errorf("got  %+v\nwant %+v", result, want)
	}
	k.wantNet(result)
}

// TestRecallCannotRead: a worker that lacks the key of what an order was accepted as does
// not decide anew.
func TestRecallCannotRead(t *testing.T) {
	t.Parallel()
	events := acceptedAt(420)
	payload := events[2].GetMarkerRecordedEventAttributes().GetDetails()["data"].GetPayloads()[0]
	payload.Metadata["encoding"] = []byte("binary/encrypted")
	k := newKitchen(t)
	k.reset()
	k.past.runs["first run"] = events
	k.ExecuteWorkflow(coffee.WorkflowType, latte)
	if err := k.GetWorkflowError(); err == nil {
		t.Error("it went on")
	}
	k.wantScheduled("recall_order")
}

// TestChargedInAnotherLedger: the worker's ledger does not know the charge of the order.
// The order fails, and says so.
func TestChargedInAnotherLedger(t *testing.T) {
	t.Parallel()
	k := newKitchen(t)
	step(k, coffee.ActivityChargeCustomer, func(context.Context, coffee.ChargeInput) (bool, error) { return true, nil }, 0, 0)
	result := k.order()
	if want := (coffee.OrderResult{OrderID: "123", Status: coffee.StatusFailed, Charged: true, AmountCents: 525,
		Failure: "charged in another ledger, and not refunded: this one has no charge of it"}); result != want {
		t.Errorf("got  %+v\nwant %+v", result, want)
	}
	if failure := k.state().Failure; failure != "charged in another ledger, and not refunded: this one has no charge of it" {
		t.Errorf("the failure is %q", failure)
	}
}
