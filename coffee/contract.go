package coffee

import "strings"

// The names in this file cross the wire. Clients and workers in other
// languages rely on them, so they never change; fields may only be added.
const (
	// WorkflowType is the registered name of [OrderWorkflow.OrderCoffeeWorkflow].
	WorkflowType = "OrderCoffeeWorkflow"
	// TaskQueue is where clients leave work and workers poll for it.
	TaskQueue = "coffee-orders"
	// SignalCancelOrder asks an order to cancel. It needs no argument; a
	// [CancelRequest] may come with it.
	SignalCancelOrder = "cancel_order"
	// QueryGetStatus answers with the [OrderState].
	QueryGetStatus = "get_status"

	workflowIDPrefix = "order-"
)

// Names of the activities.
const (
	ActivityChargeCustomer = "charge_customer"
	ActivityBrewCoffee     = "brew_coffee"
	ActivitySendReceipt    = "send_receipt"
	ActivityRefundCustomer = "refund_customer"
	// ActivityDeliverCoffee records that the coffee was handed out. The workflow
	// runs it when a receipt could not be sent; sending a receipt records it as
	// well.
	ActivityDeliverCoffee = "deliver_coffee"
	// ActivityRecallOrder says what an order was accepted as before a reset. The
	// workflow runs it when a reset takes the order back to its beginning.
	ActivityRecallOrder = "recall_order"
)

// Types of the application errors that a workflow or an activity fails with.
// All but [ErrorTypeJammed] are final: Temporal does not retry them.
const (
	// ErrorTypeJammed ends an attempt to brew.
	ErrorTypeJammed = "Jammed"
	// ErrorTypeInvalidOrder ends a workflow whose input is not a valid order.
	ErrorTypeInvalidOrder = "InvalidOrder"
	// ErrorTypeInvalidInput ends an activity whose input is invalid.
	ErrorTypeInvalidInput = "InvalidInput"
	// ErrorTypeRefused ends a step that the ledger refuses for good: a charge, or a
	// coffee whose payment does not stand. If the order was charged another amount
	// before, the error's details are that amount in cents.
	ErrorTypeRefused = "Refused"
)

const (
	// SearchAttributeStatus is the Keyword search attribute that holds the
	// [OrderStatus] of an order that has ended.
	SearchAttributeStatus = "CoffeeStatus"
	// MemoOrder is the key of the memo that holds the [OrderMemo].
	MemoOrder = "order"
)

// WorkflowID returns the workflow id of an order: "order-" and the order id.
func WorkflowID(orderID string) string { return workflowIDPrefix + orderID }

// OrderID returns the order id in the id of an order's workflow.
func OrderID(workflowID string) string { return strings.TrimPrefix(workflowID, workflowIDPrefix) }

// OrderStatus is how an order ended, or [StatusRunning] while it has not.
type OrderStatus string

// The statuses of an order. A result never says RUNNING.
const (
	StatusRunning   OrderStatus = "RUNNING"
	StatusCompleted OrderStatus = "COMPLETED"
	StatusFailed    OrderStatus = "FAILED"
	StatusCancelled OrderStatus = "CANCELLED"
)

// Stage is where an order is on its way through the workflow.
type Stage string

// The stages of an order, in sequence.
const (
	StageAccepted       Stage = "ACCEPTED"
	StageCharging       Stage = "CHARGING"
	StageBrewing        Stage = "BREWING"
	StageSendingReceipt Stage = "SENDING_RECEIPT"
	StageRefunding      Stage = "REFUNDING"
	StageDone           Stage = "DONE"
)

// OrderRequest is the input of the workflow.
type OrderRequest struct {
	OrderID string `json:"order_id"`
	Drink   Drink  `json:"drink"`
	Size    Size   `json:"size"`
}

// OrderResult is the result of the workflow.
type OrderResult struct {
	OrderID     string      `json:"order_id"`
	Status      OrderStatus `json:"status"`
	Charged     bool        `json:"charged"`
	Brewed      bool        `json:"brewed"`
	ReceiptSent bool        `json:"receipt_sent"`
	AmountCents Cents       `json:"amount_cents"`
	// Refunded is true when a charge was made and refunded.
	Refunded bool `json:"refunded,omitempty"`
	// Failure is as in [OrderState].
	Failure string `json:"failure,omitempty"`
}

// OrderState is the answer to the query [QueryGetStatus].
type OrderState struct {
	OrderID     string `json:"order_id"`
	Cancelled   bool   `json:"cancelled"`
	Charged     bool   `json:"charged"`
	Brewed      bool   `json:"brewed"`
	ReceiptSent bool   `json:"receipt_sent"`
	AmountCents Cents  `json:"amount_cents"`

	Stage    Stage  `json:"stage"`
	Refunded bool   `json:"refunded"`
	Drink    Drink  `json:"drink,omitempty"`
	Size     Size   `json:"size,omitempty"`
	Pricing  string `json:"pricing,omitempty"`
	// CancelReason is the reason that came with the cancel; empty if none did.
	CancelReason string `json:"cancel_reason,omitempty"`
	// Failure says why the order failed, or why its receipt was not sent.
	Failure string `json:"failure,omitempty"`
}

// CancelRequest is the optional argument of the signal [SignalCancelOrder].
type CancelRequest struct {
	Reason string `json:"reason"`
}

// ChargeInput is the input of the activity charge_customer, which returns true.
type ChargeInput struct {
	OrderID     string `json:"order_id"`
	AmountCents Cents  `json:"amount_cents"`
	// RunID is the original run id of the order's workflow, which survives a
	// workflow reset. Empty means the run that the activity belongs to.
	RunID string `json:"run_id,omitempty"`
}

// BrewInput is the input of the activity brew_coffee, which returns true.
type BrewInput struct {
	OrderID string `json:"order_id"`
	Drink   Drink  `json:"drink"`
	Size    Size   `json:"size"`
}

// ReceiptInput is the input of the activities send_receipt and deliver_coffee,
// which return true.
type ReceiptInput struct {
	OrderID string `json:"order_id"`
}

// RefundInput is the input of the activity refund_customer.
type RefundInput struct {
	OrderID string `json:"order_id"`
	// RunID is as in [ChargeInput].
	RunID string `json:"run_id,omitempty"`
}

// RefundOutput is the result of the activity refund_customer.
type RefundOutput struct {
	// Refunded is false when there was no charge to refund.
	Refunded bool `json:"refunded"`
	// AmountCents is what was refunded.
	AmountCents Cents `json:"amount_cents,omitempty"`
	// Delivered is true when the coffee was handed out, so that the charge stands.
	Delivered bool `json:"delivered,omitempty"`
}

// RecallInput is the input of the activity recall_order.
type RecallInput struct {
	OrderID string `json:"order_id"`
	// RunID is the original run id of the order's workflow.
	RunID string `json:"run_id"`
}

// RecallOutput is the result of the activity recall_order.
type RecallOutput struct {
	// Accepted is true if an earlier run was accepted. The other fields are zero
	// otherwise.
	Accepted bool `json:"accepted"`
	// AmountCents is what was charged, or else the price at which it was accepted.
	AmountCents Cents `json:"amount_cents,omitempty"`
	// Pricing is empty if only the ledger knows of the order.
	Pricing string `json:"pricing,omitempty"`
}

// acceptance is what a workflow decides when it starts, and never changes.
type acceptance struct {
	// Order is what was ordered, in canonical form; the zero value if that cannot be
	// read, or belongs to another workflow.
	Order OrderRequest `json:"order"`
	// Problem is why the order was refused; empty if it was accepted.
	Problem string `json:"problem,omitempty"`
	// Stop ends the workflow as cancelled. A workflow with a cron schedule would be
	// started again after a failure; a cancel ends its schedule as well.
	Stop        bool   `json:"stop,omitempty"`
	Pricing     string `json:"pricing"`
	AmountCents Cents  `json:"amount_cents"`
	// Indexed is true if the server has [SearchAttributeStatus].
	Indexed bool `json:"indexed"`
	// Reset is true if a reset began this run. Then it counts only if no earlier run
	// was accepted.
	Reset bool `json:"reset,omitempty"`
}

// OrderMemo is stored in the workflow's memo, so that listing orders needs neither
// a worker nor each order's history.
type OrderMemo struct {
	Drink       Drink  `json:"drink"`
	Size        Size   `json:"size"`
	AmountCents Cents  `json:"amount_cents"`
	Pricing     string `json:"pricing"`
}
