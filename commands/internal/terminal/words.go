package terminal

import (
	"fmt"
	"strings"
	"time"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/text"
)

// How this program words statuses, outcomes and amounts, wherever it shows them.

var stagesInWords = map[coffee.Stage]string{
	coffee.StageAccepted:       "accepted",
	coffee.StageCharging:       "charging",
	coffee.StageBrewing:        "brewing",
	coffee.StageSendingReceipt: "sending the receipt",
	coffee.StageRefunding:      "refunding",
	coffee.StageDone:           "done",
}

// StatusInWords says where an order is, or how it ended.
func StatusInWords(view desk.OrderView) string {
	if view.Unreadable != "" && (view.Status == "" || view.Status == coffee.StatusRunning) {
		return "unreadable"
	}
	if view.Status != coffee.StatusRunning {
		return text.Printable(strings.ToLower(string(view.Status)))
	}
	switch {
	case strings.HasPrefix(view.WorkflowTaskFailure, "[TMPRL1100]"):
		return "stuck: nondeterminism error"
	case view.Unindexed:
		return "stuck: no search attribute"
	}
	words := stagesInWords[view.Stage]
	if view.Paused != "" {
		return words + ", paused " + view.Paused
	}
	if wait := time.Until(view.NextAttemptAt); wait > 0 { // the board says it in the same words
		return words + fmt.Sprintf(", next attempt in %.1f s", wait.Seconds())
	}
	if view.Stage == coffee.StageBrewing && view.BrewAttempts > 0 {
		words += fmt.Sprintf(", attempt %d", view.BrewAttempts)
	}
	return words
}

// PaymentInWords says what was paid, and paid back.
func PaymentInWords(view desk.OrderView) string {
	switch {
	case view.Refunded:
		return "yes, and refunded"
	case view.Charged:
		return "yes"
	}
	return "no"
}

// BrewInWords says how the brew goes, or went.
func BrewInWords(view desk.OrderView) string {
	switch {
	case view.BrewAttempts == 0:
		return Choose(view.Brewed, "yes", "no")
	case view.Brewed:
		return fmt.Sprintf("yes, at attempt %d", view.BrewAttempts)
	case view.Status == coffee.StatusRunning && view.Stage == coffee.StageBrewing:
		return "not yet"
	}
	return "no, after " + text.Plural(view.BrewAttempts, "attempt", "attempts")
}

// CancelledInWords says that an order was cancelled, and what became of its payment.
func CancelledInWords(result coffee.OrderResult) string {
	if !result.Charged {
		return fmt.Sprintf("order %s was cancelled before anything was charged", text.Printable(result.OrderID))
	}
	return fmt.Sprintf("order %s was cancelled%s", text.Printable(result.OrderID), RefundInWords(result))
}

// RefundInWords says at the end of a sentence that the payment was refunded; empty if not.
func RefundInWords(result coffee.OrderResult) string {
	if !result.Refunded {
		return ""
	}
	return fmt.Sprintf("; %s refunded", result.AmountCents)
}

// Choose returns one of two texts.
func Choose(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

// ShortID returns an order id for a table or a line: another program's can be long.
func ShortID(orderID string) string {
	id := []rune(text.Printable(orderID))
	if len(id) > coffee.MaxOrderIDLength {
		return string(id[:coffee.MaxOrderIDLength-1]) + "…"
	}
	return string(id)
}

// IDInTable is the id of an order, or what else a workflow is that is not called order-….
func IDInTable(view desk.OrderView) string {
	if view.WorkflowID != "" {
		return "workflow " + ShortID(view.WorkflowID)
	}
	return ShortID(view.OrderID)
}

// Age is in seconds, with one decimal if it is less than a minute.
func Age(view desk.OrderView) string {
	age := view.Age()
	if age < time.Minute {
		return fmt.Sprintf("%.1f s", age.Seconds())
	}
	return age.Round(time.Second).String()
}
