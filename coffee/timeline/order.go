// Package timeline draws the histories of orders: those of the package
// [example.com/coffee/timeline], which draws any, in the words of the shop.
package timeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/text"
	"example.com/coffee/timeline"
)

// Timeline is the history of an order, as rows.
type Timeline struct {
	OrderID     string       `json:"order_id"`
	Drink       coffee.Drink `json:"drink,omitempty"`
	Size        coffee.Size  `json:"size,omitempty"`
	AmountCents coffee.Cents `json:"amount_cents,omitempty"`
	// Timeline has the rows. Its Status is RUNNING, or how the order ended; empty if its
	// workflow ended without a result.
	timeline.Timeline
}

// New returns the timeline of an order's history.
func New(history desk.History) Timeline {
	o := &order{Timeline: Timeline{OrderID: history.OrderID}, events: map[int64]*historypb.HistoryEvent{}}
	for _, event := range history.Events {
		o.read(event)
	}
	o.Timeline.Timeline = timeline.Words{Name: name, Done: o.done}.New(timeline.History{
		WorkflowID: coffee.WorkflowID(history.OrderID), RunID: history.RunID, Events: history.Events,
		PendingActivities: history.Pending, Waiting: history.Waiting, ReadAt: history.ReadAt,
	})
	o.close()
	o.Title = o.title()
	o.Rows = slices.DeleteFunc(o.Rows, func(row timeline.Row) bool { return row.Kind == timeline.KindMark })
	for i := range o.Rows {
		o.retell(&o.Rows[i])
	}
	return o.Timeline
}

// order is what is read of an order's history.
type order struct {
	Timeline
	events    map[int64]*historypb.HistoryEvent
	completed *historypb.HistoryEvent // nil if the workflow is not
	// receiptAt is when the receipt was first scheduled; zero if it was not.
	receiptAt time.Time
}

func (o *order) read(event *historypb.HistoryEvent) {
	o.events[event.GetEventId()] = event
	if event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED {
		o.completed = event
	}
	if request, ok := coffee.DecodeRequest(event.GetWorkflowExecutionStartedEventAttributes().GetInput()); ok {
		o.Drink, o.Size = request.Drink, request.Size
	}
	attributes := event.GetActivityTaskScheduledEventAttributes()
	var charge coffee.ChargeInput
	switch attributes.GetActivityType().GetName() {
	case coffee.ActivityChargeCustomer:
		if coffee.Decode(coffee.FirstPayload(attributes.GetInput()), &charge) {
			o.AmountCents = charge.AmountCents
		}
	case coffee.ActivitySendReceipt:
		if o.receiptAt.IsZero() {
			o.receiptAt = desk.AsTime(event.GetEventTime())
		}
	}
}

// inWords is what activities are called, and what they have done once they are completed.
var inWords = map[string]struct{ name, done string }{
	coffee.ActivityChargeCustomer: {"charge", "charged"},
	coffee.ActivityBrewCoffee:     {"brew", "brewed"},
	coffee.ActivitySendReceipt:    {"receipt", "sent"},
	coffee.ActivityRefundCustomer: {"refund", "nothing was charged"},
	coffee.ActivityDeliverCoffee:  {"delivery", "handed out"},
	coffee.ActivityRecallOrder:    {"recall", "not accepted before the reset"},
}

func name(activity string) string { return inWords[activity].name }

// done says in words what a completed activity has done.
func (o *order) done(scheduled, completed *historypb.HistoryEvent) string {
	var refund coffee.RefundOutput
	var recall coffee.RecallOutput
	payload := coffee.FirstPayload(completed.GetActivityTaskCompletedEventAttributes().GetResult())
	activity := scheduled.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName()
	switch activity {
	case coffee.ActivityChargeCustomer:
		return "charged " + o.AmountCents.String()
	case coffee.ActivityRefundCustomer:
		switch decoded := coffee.Decode(payload, &refund); {
		case decoded && refund.Refunded && cmp.Or(refund.AmountCents, o.AmountCents) == 0:
			return "refunded" // charged in a run that was reset, and refunded by another program
		case decoded && refund.Refunded:
			return "refunded " + cmp.Or(refund.AmountCents, o.AmountCents).String()
		case refund.Delivered:
			return "too late: the coffee was handed out before the reset"
		}
	case coffee.ActivityRecallOrder:
		if coffee.Decode(payload, &recall) && recall.Accepted {
			return "accepted at " + recall.AmountCents.String() + " before the reset"
		}
	}
	return inWords[activity].done
}

// title returns the order id, what was ordered, and the price.
func (o *order) title() string {
	title := "Order " + text.Printable(o.OrderID)
	if o.Drink != "" {
		title += ": " + text.Printable(text.Clip(string(o.Drink), 40))
		if o.Size != "" {
			title += fmt.Sprintf(" (%s)", text.Printable(text.Clip(string(o.Size), 10)))
		}
	}
	if o.AmountCents != 0 {
		title += ", " + o.AmountCents.String()
	}
	return title
}

// close says how the order ended, which its result says.
func (o *order) close() {
	if o.EndedAt.IsZero() {
		return
	}
	how := o.Status
	o.Status = ""
	switch how {
	case "COMPLETED":
		result, ok := coffee.DecodeResult(o.completed.GetWorkflowExecutionCompletedEventAttributes().GetResult())
		if !ok {
			o.Ending = "ended with a result that is not an order's"
			return
		}
		o.AmountCents, o.Status = result.AmountCents, string(result.Status)
		o.Ending = strings.ToLower(o.Status)
		if result.Refunded {
			o.Ending += ", " + result.AmountCents.String() + " refunded"
		}
	case "FAILED":
		o.Ending = "ended without a result: " + strings.TrimPrefix(o.Ending, "failed: ")
	case "TIMED_OUT":
		o.Ending = "ended without a result: the workflow timed out"
	case "CANCELED":
		o.Ending = "ended without a result: the workflow was cancelled"
	}
}

const cancelName = "cancel"

// retell tells of signals and cancels in the words of the shop.
func (o *order) retell(row *timeline.Row) {
	if row.Outcome == timeline.WorkflowEnded {
		row.Outcome = "the order ended"
	}
	if row.Kind != timeline.KindMoment || len(row.Events) != 1 {
		return
	}
	event := o.events[row.Events[0].ID]
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		attributes := event.GetWorkflowExecutionSignaledEventAttributes()
		if attributes.GetSignalName() != coffee.SignalCancelOrder {
			return
		}
		row.Name, row.State, row.Outcome = cancelName, timeline.StateCancelled, "by signal"
		if reason := coffee.CancelReason(coffee.FirstPayload(attributes.GetInput())); reason != "" {
			row.Outcome += ": " + text.Clip(reason, text.MaxText)
		}
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		row.Name, row.Outcome = cancelName, "through Temporal"
	default:
		return
	}
	if o.tooLate(*row) {
		row.State, row.Outcome = timeline.StateWaiting, "too late, "+row.Outcome
	}
}

// tooLate reports whether a request to cancel changed nothing: the receipt had been
// scheduled, or the order had failed, or an earlier run had handed out the coffee.
func (o *order) tooLate(cancel timeline.Row) bool {
	if !o.EndedAt.IsZero() {
		return o.Status == string(coffee.StatusCompleted) || o.Status == string(coffee.StatusFailed)
	}
	return !o.receiptAt.IsZero() && !cancel.Start.Before(o.receiptAt)
}
