package coffee

import (
	"cmp"
	"context"
	"errors"

	"go.temporal.io/sdk/activity"
)

// An operator can reset a workflow to its beginning: it then starts once more, with
// another price list and another menu. What the order was accepted as stays all the same.

// RecallOrder says what the runs of an order before a reset were accepted as. What
// was charged is the price, even if a history says something else.
func (a *Activities) RecallOrder(ctx context.Context, in RecallInput) (RecallOutput, error) {
	if err := ValidateOrderID(in.OrderID); err != nil {
		return RecallOutput{}, invalidInput(err)
	}
	info, orders := activity.GetInfo(ctx), a.Orders
	if orders == nil {
		orders = NewClient(activity.GetClient(ctx), info.Namespace)
	}
	accepted, err := orders.accepted(ctx, in.OrderID, in.RunID, info.WorkflowExecution.RunID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return RecallOutput{}, err
	}
	charged, err := a.services.Payment().Charged(ctx, in.OrderID, in.RunID)
	if err != nil {
		return RecallOutput{}, err
	}
	price := cmp.Or(charged, accepted.AmountCents)
	return RecallOutput{Accepted: price != 0, AmountCents: price, Pricing: accepted.Pricing}, nil
}

// accepted returns what an order was accepted as by the first of its runs that was, from its
// original run to the one before upTo; the zero value if none was, and [ErrNotFound] if one
// was deleted. It reads what the worker has decided: unlike a memo, no client can write that.
func (c *Client) accepted(ctx context.Context, orderID, original, upTo string) (acceptance, error) {
	for runID := original; runID != upTo && runID != ""; {
		accepted, err := c.decision(ctx, orderID, runID)
		if err != nil || accepted.AmountCents != 0 {
			return accepted, err
		}
		described, err := c.Lookup(ctx, orderID, runID)
		if err != nil {
			return acceptance{}, err
		}
		runID = described.GetWorkflowExtendedInfo().GetResetRunId()
	}
	return acceptance{}, nil
}

// decision returns what a run decided when it started; the zero value if it has not.
func (c *Client) decision(ctx context.Context, orderID, runID string) (acceptance, error) {
	for event, err := range c.events(ctx, orderID, runID) {
		if err != nil {
			return acceptance{}, err
		}
		marker := event.GetMarkerRecordedEventAttributes()
		if marker.GetMarkerName() != "SideEffect" {
			continue
		}
		data := marker.GetDetails()["data"]
		if problem := EncryptionProblem(data.GetPayloads()...); problem != "" {
			return acceptance{}, errors.New("cannot read what the order was accepted as: it is " + problem)
		}
		var decided acceptance
		if !Decode(FirstPayload(data), &decided) {
			return acceptance{}, nil // it is not from this workflow
		}
		return decided, nil
	}
	return acceptance{}, nil
}
