package coffee

import (
	"cmp"
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
)

// Activities are thin: they translate between Temporal and the services. A
// retry calls them again, on any worker, so each can be repeated safely.
type Activities struct {
	// Orders reads what was recorded of an order before a reset; nil means a client on
	// the worker's own connection.
	Orders   *Client
	services *ServiceFactory
}

// NewActivities returns activities that use the factory's services.
func NewActivities(services *ServiceFactory) *Activities { return &Activities{services: services} }

// Register registers the activities under their names in the contract.
func (a *Activities) Register(r worker.ActivityRegistry) {
	for name, fn := range map[string]any{
		ActivityChargeCustomer: a.ChargeCustomer,
		ActivityBrewCoffee:     a.BrewCoffee,
		ActivitySendReceipt:    a.SendReceipt,
		ActivityRefundCustomer: a.RefundCustomer,
		ActivityDeliverCoffee:  a.DeliverCoffee,
		ActivityRecallOrder:    a.RecallOrder,
	} {
		r.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
}

// ChargeCustomer takes the payment for an order.
func (a *Activities) ChargeCustomer(ctx context.Context, in ChargeInput) (bool, error) {
	if err := ValidateOrderID(in.OrderID); err != nil {
		return false, invalidInput(err)
	}
	charge := Charge{OrderID: in.OrderID, RunID: originalRun(ctx, in.RunID), Amount: in.AmountCents}
	err := a.services.Payment().Charge(ctx, charge)
	if errors.Is(err, ErrAmountConflict) {
		charged, readErr := a.services.Payment().Charged(ctx, charge.OrderID, charge.RunID)
		if readErr != nil {
			return false, readErr
		}
		return false, final(err, charged)
	}
	return err == nil, final(err)
}

// BrewCoffee makes the drink if its payment stands: an operator can reset a
// refunded order to a point before the refund. If the coffee was handed out before
// a reset, there is nothing to make.
//
// It heartbeats while it brews, so that the server notices when the worker dies,
// and the brew learns when the order is cancelled.
func (a *Activities) BrewCoffee(ctx context.Context, in BrewInput) (bool, error) {
	// The drink is not looked up on the menu, which may have changed since the
	// order was accepted.
	if err := ValidateOrderID(in.OrderID); err != nil {
		return false, invalidInput(err)
	}
	if delivered, err := a.services.Payment().Paid(ctx, in.OrderID); err != nil || delivered {
		return delivered, final(err)
	}
	stop := heartbeat(ctx, func() { activity.RecordHeartbeat(ctx) })
	defer stop()
	err := a.services.Brew().Brew(ctx, OrderRequest(in), int(activity.GetInfo(ctx).Attempt))
	if errors.Is(err, ErrJammed) {
		return false, expected(err, ErrorTypeJammed, temporal.ApplicationErrorOptions{})
	}
	if err == nil { // it may have been refunded while this attempt was frozen
		_, err = a.services.Payment().Paid(ctx, in.OrderID)
	}
	return err == nil, final(err)
}

// SendReceipt hands out the coffee, if its payment stands, and tells the customer
// that it is ready.
func (a *Activities) SendReceipt(ctx context.Context, in ReceiptInput) (bool, error) {
	if delivered, err := a.DeliverCoffee(ctx, in); err != nil {
		return delivered, err
	}
	if err := a.services.Notification().SendReceipt(ctx, in.OrderID); err != nil {
		return false, err
	}
	return true, nil
}

// DeliverCoffee hands out the coffee, if its payment stands. It is the part of
// [Activities.SendReceipt] that matters when the receipt cannot be sent.
func (a *Activities) DeliverCoffee(ctx context.Context, in ReceiptInput) (bool, error) {
	if err := ValidateOrderID(in.OrderID); err != nil {
		return false, invalidInput(err)
	}
	err := a.services.Payment().Deliver(ctx, in.OrderID)
	return err == nil, final(err)
}

// RefundCustomer refunds what the order was charged, if anything, unless the coffee
// was handed out.
func (a *Activities) RefundCustomer(ctx context.Context, in RefundInput) (RefundOutput, error) {
	if err := ValidateOrderID(in.OrderID); err != nil {
		return RefundOutput{}, invalidInput(err)
	}
	refunded, err := a.services.Payment().Refund(ctx, in.OrderID, originalRun(ctx, in.RunID))
	if errors.Is(err, ErrDelivered) {
		return RefundOutput{Delivered: true}, nil
	}
	return RefundOutput{Refunded: refunded != 0, AmountCents: refunded}, final(err)
}

// originalRun returns the original run id that the workflow sent. A workflow in
// another language may not send it; its current run id serves as well, unless it
// was reset.
func originalRun(ctx context.Context, said string) string {
	return cmp.Or(said, activity.GetInfo(ctx).WorkflowExecution.RunID)
}

// final marks the ledger's refusals as non-retryable. Any other error may be
// temporary.
func final(err error, details ...any) error {
	if IsRefusal(err) {
		return expected(err, ErrorTypeRefused, temporal.ApplicationErrorOptions{NonRetryable: true, Details: details})
	}
	return err
}

// chargedBefore returns the amount in the refusal of a charge; false if there is none.
func chargedBefore(err error) (amount Cents, ok bool) {
	var refused *temporal.ApplicationError
	ok = errors.As(err, &refused) && refused.Type() == ErrorTypeRefused && refused.HasDetails() && refused.Details(&amount) == nil
	return amount, ok && amount > 0
}

// expected marks a failure that is part of normal operation as benign, so that the
// SDK neither logs it as an error nor counts it in its metrics.
func expected(err error, kind string, options temporal.ApplicationErrorOptions) error {
	options.Category = temporal.ApplicationErrorCategoryBenign
	options.Cause = err
	return temporal.NewApplicationErrorWithOptions(err.Error(), kind, options)
}

func invalidInput(err error) error {
	return temporal.NewNonRetryableApplicationError(err.Error(), ErrorTypeInvalidInput, err)
}

// heartbeat calls record every [heartbeatInterval], the first time at once, until the
// context ends or stop is called. stop returns when the last call is over.
func heartbeat(ctx context.Context, record func()) (stop func()) {
	stopping := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(heartbeatInterval)
		defer ticker.Stop()
		for {
			record()
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			case <-stopping:
				return
			}
		}
	}()
	return func() {
		close(stopping)
		<-stopped
	}
}
