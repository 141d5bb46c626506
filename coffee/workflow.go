package coffee

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/internal/text"
)

// statusAttribute is the typed key of [SearchAttributeStatus].
var statusAttribute = temporal.NewSearchAttributeKeyKeyword(SearchAttributeStatus)

// changeUnindexed, for [workflow.GetVersion]: an order ends without the search attribute
// if the server has lost it. The workflow asks only then, so that other histories have no
// marker for it.
const changeUnindexed = "unindexed"

// OrderWorkflow holds the workflow's settings, which come from its worker. Both are
// pinned in the history when an order is accepted, so workers with different
// settings can share a task queue.
type OrderWorkflow struct {
	// Pricing computes the price of new orders.
	Pricing PricingStrategy
	// Index says whether the server has [SearchAttributeStatus] now; nil means that it has
	// not. If it has, orders write their outcome to it.
	Index func() Index
}

// Index is what is known of a server's search attribute: anybody can add it, remove it, or
// replace it by one of another type.
type Index int

// The zero value is [IndexUnknown].
const (
	IndexUnknown Index = iota
	IndexThere
	IndexGone
)

// Register registers the workflow under its name in the contract.
func (w *OrderWorkflow) Register(r worker.WorkflowRegistry) {
	r.RegisterWorkflowWithOptions(w.OrderCoffeeWorkflow, workflow.RegisterOptions{Name: WorkflowType})
}

// OrderCoffeeWorkflow takes one order from its acceptance to its end.
//
// The input is an [OrderRequest]. It arrives undecoded, because an argument that
// the SDK cannot decode would fail the workflow task again and again. Decoded here,
// it fails the workflow once, with a clear error.
func (w *OrderWorkflow) OrderCoffeeWorkflow(ctx workflow.Context, input converter.RawValue) (OrderResult, error) {
	order, err := w.accept(ctx, input)
	if err != nil {
		return OrderResult{}, err
	}
	err = order.chargeAndBrew(ctx)
	if err == nil {
		err = order.sendReceipt(ctx)
	}
	if err == nil {
		return order.finish(ctx, StatusCompleted)
	}
	status := StatusFailed
	if order.cancellable.Err() != nil {
		status, order.state.Cancelled = StatusCancelled, true
	} else {
		order.recordFailure(ctx, err)
	}
	delivered, err := order.undo(ctx)
	if err != nil {
		return OrderResult{}, err
	}
	if delivered { // by an earlier run, before a reset: too late to cancel or to fail
		status, order.state.Cancelled, order.state.Failure = StatusCompleted, false, ""
		if err := order.sendReceipt(ctx); err != nil {
			return OrderResult{}, err
		}
	}
	return order.finish(ctx, status)
}

// order is one order on its way through the workflow.
type order struct {
	request OrderRequest
	state   OrderState
	indexed bool
	index   func() Index
	runID   string // the original run, the same after a reset

	// cancellable is the context of everything that a cancel interrupts, whether it
	// comes by signal or as Temporal's own cancellation.
	cancellable workflow.Context
	cancel      workflow.CancelFunc
	signals     workflow.ReceiveChannel

	// refundDue is set before the charge is attempted, and from the beginning of a
	// run that a reset began. From then on money may have moved, even if the
	// workflow never learns of it.
	refundDue bool
}

// accept checks the order, pins its price, and sets up its query and its cancel
// signal. It returns an error if the order is refused.
func (w *OrderWorkflow) accept(ctx workflow.Context, input converter.RawValue) (*order, error) {
	o := &order{state: OrderState{Stage: StageAccepted}, runID: workflow.GetInfo(ctx).OriginalRunID}
	if err := workflow.SetQueryHandler(ctx, QueryGetStatus, func() (OrderState, error) { return o.state, nil }); err != nil {
		return nil, err
	}
	accepted, err := w.decide(ctx, input)
	if err != nil {
		return nil, err
	}
	o.request, o.indexed, o.index = accepted.Order, accepted.Indexed, w.Index
	o.state.OrderID, o.state.Drink, o.state.Size = o.request.OrderID, o.request.Drink, o.request.Size
	o.cancellable, o.cancel = workflow.WithCancel(ctx)
	o.signals = workflow.GetSignalChannel(ctx, SignalCancelOrder)
	if o.refundDue = accepted.Reset && o.request.OrderID != ""; o.refundDue {
		if accepted, err = o.recall(ctx, accepted); err != nil {
			return nil, err
		}
	}
	if refusal := accepted.refusal(); refusal != nil {
		// Nothing was handed out, or the order would have been recalled.
		if _, err := o.undo(ctx); err != nil {
			return nil, err
		}
		return nil, refusal
	}
	o.state.Pricing = accepted.Pricing
	return o, o.pin(ctx, accepted.AmountCents)
}

// decide accepts or refuses the order, once. It is a side effect: its value is
// recorded in the history, and every replay gets that value. So neither a new menu
// nor a new price list changes an order in flight.
func (w *OrderWorkflow) decide(ctx workflow.Context, input converter.RawValue) (decided acceptance, err error) {
	info := workflow.GetInfo(ctx)
	err = workflow.SideEffectWithOptions(ctx, workflow.SideEffectOptions{Summary: "accept or refuse"}, func(ctx workflow.Context) any {
		if problem := EncryptionProblem(input.Payload()); problem != "" {
			panic(problem) // fails the task: the order waits for a worker that can read it
		}
		request, err := decodeOrder(info.WorkflowExecution.ID, input)
		// Pinned as well, because a replayer may not know the run id. The SDK's test
		// environment has no original run.
		reset := info.OriginalRunID != "" && info.OriginalRunID != info.WorkflowExecution.RunID
		decided := acceptance{Order: request, Indexed: w.Index != nil && w.Index() == IndexThere, Reset: reset}
		if err == nil {
			_, err = request.Normalize()
		}
		if err == nil && info.CronSchedule != "" {
			err = &InvalidOrderError{Problem: "an order is made once: it cannot have a cron schedule"}
		}
		if err != nil {
			decided.Problem, decided.Stop = err.Error(), info.CronSchedule != ""
			return decided
		}
		decided.Pricing, decided.AmountCents = w.Pricing.Name(), w.Pricing.Price(request, workflow.Now(ctx))
		return decided
	}).Get(&decided)
	return decided, err
}

// refusal returns the error that ends the workflow of an order that was refused; nil
// if it was accepted.
func (a acceptance) refusal() error {
	switch {
	case a.Stop:
		return temporal.NewCanceledError(a.Problem)
	case a.Problem != "":
		return temporal.NewNonRetryableApplicationError(a.Problem, ErrorTypeInvalidOrder, nil)
	}
	return nil
}

// recall returns what the runs before a reset were accepted as. That stays, whatever
// the menu and the prices are now. Only if none was accepted does the decision of this
// run count. Nothing cancels it: how the order can end depends on the answer.
func (o *order) recall(ctx workflow.Context, decided acceptance) (acceptance, error) {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	ctx = workflow.WithActivityOptions(ctx, insistentOptions("recall the order"))
	var out RecallOutput
	if err := workflow.ExecuteActivity(ctx, ActivityRecallOrder,
		RecallInput{OrderID: o.request.OrderID, RunID: o.runID}).Get(ctx, &out); err != nil {
		return decided, fmt.Errorf("recall: %w", err)
	}
	if out.Accepted {
		decided.Problem, decided.Stop = "", false
		decided.Pricing, decided.AmountCents = out.Pricing, out.AmountCents
	}
	return decided, nil
}

// pin sets the price of the order, and shows it to lists.
func (o *order) pin(ctx workflow.Context, price Cents) error {
	o.state.AmountCents = price
	return workflow.UpsertMemo(ctx, map[string]any{MemoOrder: OrderMemo{
		Drink: o.request.Drink, Size: o.request.Size, AmountCents: price, Pricing: o.state.Pricing,
	}})
}

// decodeOrder reads the workflow's input, and returns the order in canonical form. It
// does not look at the menu; see [OrderRequest.Normalize]. The error is an
// [*InvalidOrderError].
func decodeOrder(workflowID string, input converter.RawValue) (OrderRequest, error) {
	if input.Payload() == nil {
		return OrderRequest{}, &InvalidOrderError{Problem: "the workflow has no input: it needs an order"}
	}
	var request OrderRequest
	if err := converter.GetDefaultDataConverter().FromPayload(input.Payload(), &request); err != nil {
		return OrderRequest{}, &InvalidOrderError{Problem: "the workflow's input is not an order: " + text.Quote(err.Error())}
	}
	if err := ValidateOrderID(request.OrderID); err != nil {
		return OrderRequest{}, err
	}
	if want := WorkflowID(request.OrderID); workflowID != want {
		return OrderRequest{}, &InvalidOrderError{
			Field:   "order_id",
			Problem: fmt.Sprintf("the workflow id is %s: for order %s it must be %s", text.Quote(workflowID), request.OrderID, want),
		}
	}
	request = request.canonical()
	request.clip() // no menu has a drink that this would change
	return request, nil
}

// chargeAndBrew charges the customer and brews the coffee. It returns an error as soon
// as either fails for good or the order is cancelled.
func (o *order) chargeAndBrew(ctx workflow.Context) error {
	if err := o.checkCancel(); err != nil {
		return err
	}
	// Register the compensation before the action, so that a charge whose outcome
	// is never learned is refunded too.
	o.refundDue = true
	if err := o.charge(ctx); err != nil {
		return err
	}
	if err := o.checkCancel(); err != nil {
		return err
	}
	if err := o.brew(ctx); err != nil {
		return err
	}
	return o.checkCancel()
}

func (o *order) charge(ctx workflow.Context) error {
	o.enter(ctx, StageCharging)
	cancellable := workflow.WithActivityOptions(o.cancellable, stepOptions("charge "+o.state.AmountCents.String()))
	err := o.await(ctx, workflow.ExecuteActivity(cancellable, ActivityChargeCustomer,
		ChargeInput{OrderID: o.request.OrderID, AmountCents: o.state.AmountCents, RunID: o.runID}))
	// An attempt from before a reset may have been late, and charged at the price that
	// it knew. What was charged is the price.
	if charged, ok := chargedBefore(err); ok {
		err = o.pin(ctx, charged)
	}
	o.state.Charged = err == nil
	return err
}

func (o *order) brew(ctx workflow.Context) error {
	o.enter(ctx, StageBrewing)
	options := stepOptions("brew " + o.request.String())
	options.HeartbeatTimeout = BrewHeartbeatTimeout
	cancellable := workflow.WithActivityOptions(o.cancellable, options)
	err := o.await(ctx, workflow.ExecuteActivity(cancellable, ActivityBrewCoffee, BrewInput(o.request)))
	o.state.Brewed = err == nil
	return err
}

// await waits for a step while listening for the cancel signal. When the order is
// cancelled, by signal or by Temporal, the step's future is ready with an error at
// once: the workflow does not wait for the activity, whatever it is doing.
func (o *order) await(ctx workflow.Context, step workflow.Future) error {
	selector := workflow.NewSelector(ctx).
		AddReceive(o.signals, func(workflow.ReceiveChannel, bool) { o.receiveCancel() }).
		AddFuture(step, func(workflow.Future) {})
	for !step.IsReady() {
		selector.Select(ctx)
	}
	return step.Get(ctx, nil)
}

// sendReceipt is past the point of no return: the drink is on the counter. No
// cancellation reaches this step, and a receipt that cannot be sent undoes nothing.
// It returns an error if the payment does not stand, so that there was no coffee to
// hand out.
func (o *order) sendReceipt(ctx workflow.Context) error {
	o.enter(ctx, StageSendingReceipt)
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	input := ReceiptInput{OrderID: o.request.OrderID}
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, stepOptions("send receipt")), ActivitySendReceipt, input).Get(ctx, nil)
	if err == nil {
		o.state.ReceiptSent = true
		return nil
	}
	if isRefused(err) {
		return err
	}
	o.recordFailure(ctx, err)
	// The attempts may or may not have handed out the coffee. The ledger must
	// record it, or a cancel after a later reset would refund its price.
	return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, insistentOptions("hand out without receipt")), ActivityDeliverCoffee, input).Get(ctx, nil)
}

// undo makes sure that the customer has paid nothing. If an earlier run has handed
// out the coffee, it changes nothing and returns true. It is disconnected from
// cancellation, and tries until it succeeds.
func (o *order) undo(ctx workflow.Context) (delivered bool, err error) {
	if !o.refundDue {
		return false, nil
	}
	o.enter(ctx, StageRefunding)
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	ctx = workflow.WithActivityOptions(ctx, insistentOptions("refund if charged"))
	var out RefundOutput
	if err := workflow.ExecuteActivity(ctx, ActivityRefundCustomer,
		RefundInput{OrderID: o.request.OrderID, RunID: o.runID}).Get(ctx, &out); err != nil {
		return false, fmt.Errorf("refund: %w", err)
	}
	switch {
	case out.Refunded: // so it was charged, even if the answer to the charge was lost
		o.state.Charged, o.state.Refunded = true, true
		if out.AmountCents != 0 && out.AmountCents != o.state.AmountCents { // as in [order.charge]
			err = o.pin(ctx, out.AmountCents)
		}
	case out.Delivered: // so some run charged and brewed it
		o.state.Charged, o.state.Brewed = true, true
	case o.state.Charged:
		o.state.Failure = FailureOtherLedger
	}
	return out.Delivered, err
}

// finish records the outcome and returns the result.
func (o *order) finish(ctx workflow.Context, status OrderStatus) (OrderResult, error) {
	o.state.Stage = StageDone
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("%s, %s: %s", o.request, o.state.AmountCents, o.ending(status)))
	// From here on a cancel signal is too late. Drain those in the channel, or the
	// SDK warns that they were lost.
	for o.signals.ReceiveAsync(nil) {
		workflow.GetLogger(ctx).Info("too late to cancel")
	}
	if o.indexed && !o.unindexed(ctx) {
		if err := workflow.UpsertTypedSearchAttributes(ctx, statusAttribute.ValueSet(string(status))); err != nil {
			return OrderResult{}, err
		}
	}
	return OrderResult{
		OrderID:     o.request.OrderID,
		Status:      status,
		Charged:     o.state.Charged,
		Brewed:      o.state.Brewed,
		ReceiptSent: o.state.ReceiptSent,
		AmountCents: o.state.AmountCents,
		Refunded:    o.state.Refunded,
		Failure:     o.state.Failure,
	}, nil
}

// unindexed reports whether the order ends without the search attribute that the server had
// when it was accepted. An order that wrote to it could not end. What was decided is in the
// history if it is not the usual.
func (o *order) unindexed(ctx workflow.Context) bool {
	if lost := o.index != nil && o.index() == IndexGone; !lost && !workflow.IsReplaying(ctx) {
		return false
	}
	return workflow.GetVersion(ctx, changeUnindexed, workflow.DefaultVersion, 1) != workflow.DefaultVersion
}

// ending says in words how the order ended, for the Web UI, where every workflow that
// told its story to the end is "Completed".
func (o *order) ending(status OrderStatus) string {
	ending := string(status)
	if o.state.Refunded {
		ending += ", refunded"
	}
	if o.state.Failure != "" {
		ending += ": " + o.state.Failure
	}
	return ending
}

// receiveCancel cancels the order if a cancel signal is in the channel.
func (o *order) receiveCancel() {
	var argument converter.RawValue
	if o.signals.ReceiveAsync(&argument) {
		o.state.CancelReason = CancelReason(argument.Payload())
		o.cancel()
	}
}

// checkCancel returns an error if the order is cancelled. The signal may have come
// between two steps, or together with the end of one.
func (o *order) checkCancel() error {
	o.receiveCancel()
	return o.cancellable.Err()
}

// recordFailure records why a step failed, for queries and the log.
func (o *order) recordFailure(ctx workflow.Context, err error) {
	o.state.Failure = text.Clip(rootCause(err), text.MaxText)
	workflow.GetLogger(ctx).Warn("step failed", "stage", string(o.state.Stage), "failure", o.state.Failure)
}

// FailureOtherLedger is the failure of an order that this ledger has no charge of,
// although its history has one.
const FailureOtherLedger = "charged in another ledger, and not refunded: this one has no charge of it"

// enter moves the order to a stage, and shows it in the Web UI.
func (o *order) enter(ctx workflow.Context, stage Stage) {
	o.state.Stage = stage
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("%s, %s: %s", o.request, o.state.AmountCents, stage))
}

// stepOptions are the activity options of every step; some steps add to them.
func stepOptions(summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		Summary:             summary,
		StartToCloseTimeout: ActivityTimeout,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    FirstBackoff,
			BackoffCoefficient: BackoffFactor,
			MaximumInterval:    MaxBackoff,
			MaximumAttempts:    MaxAttempts,
		},
	}
}

// insistentOptions are for a step that is tried until it succeeds.
func insistentOptions(summary string) workflow.ActivityOptions {
	options := stepOptions(summary)
	options.RetryPolicy.MaximumAttempts = 0 // no limit
	options.RetryPolicy.MaximumInterval = MaxRefundBackoff
	return options
}

// rootCause returns the message of the error that says what happened, out of the
// chain that Temporal wraps around a failure.
func rootCause(err error) string {
	var application *temporal.ApplicationError
	var timeout *temporal.TimeoutError
	switch {
	case errors.As(err, &application):
		return application.Message()
	case errors.As(err, &timeout):
		return "timed out (" + timeout.TimeoutType().String() + ")"
	}
	return err.Error()
}

// isRefused reports whether a step failed because the ledger refused it for good.
func isRefused(err error) bool {
	var application *temporal.ApplicationError
	return errors.As(err, &application) && application.Type() == ErrorTypeRefused
}
