package audit

import "fmt"

// Rule is one of the rules that always hold, under any crash, race or retry.
type Rule int

// The rules.
const (
	// RuleCharge: at most one charge per order, of the price that the order was
	// accepted at.
	RuleCharge Rule = iota + 1
	// RuleRefund: at most one refund per order; it has its charge, and equals it.
	RuleRefund
	// RuleNet: an order's net is 0 or its price; its price exactly when the
	// coffee was handed out, by whichever of the order's runs. An order that was
	// cancelled in time is not completed. Over all orders the sums agree.
	RuleNet
	// RuleUndone: a cancelled or failed order has net 0 and no receipt.
	RuleUndone
	// RuleClosed: no charge after a void or a refund.
	RuleClosed
	// RuleOwner: every row belongs to an order that exists, or existed until its
	// retention ended; a history that is gone although older ones are still there
	// was deleted. Rows are never changed or deleted, because the database
	// itself refuses.
	RuleOwner
	// RuleHistory: a history that says charged or refunded has its row; every
	// history replays on the workflow as it is now.
	RuleHistory
	// RuleAcknowledged: every order that a client was told is accepted exists,
	// and has ended.
	RuleAcknowledged
)

var rules = map[Rule]string{
	RuleCharge:       "at most one charge per order, of its price",
	RuleRefund:       "at most one refund per order, which equals its charge",
	RuleNet:          "an order's net is its price if the coffee was handed out, and 0 otherwise",
	RuleUndone:       "a cancelled or failed order has net 0 and no receipt",
	RuleClosed:       "no charge after a void or a refund",
	RuleOwner:        "every row belongs to an order, and is never changed",
	RuleHistory:      "what a history says is in the ledger, and it replays",
	RuleAcknowledged: "every acknowledged order exists, and ends",
}

// String says what the rule demands.
func (r Rule) String() string {
	if text, ok := rules[r]; ok {
		return text
	}
	return fmt.Sprintf("rule %d", int(r))
}

// Breach is one rule that one order, or the ledger as a whole, breaks.
type Breach struct {
	Rule Rule `json:"rule"`
	// OrderID is empty if it is the ledger as a whole.
	OrderID string `json:"order_id,omitempty"`
	// Problem is one line.
	Problem string `json:"problem"`
	// Settleable is true if a repair settles it.
	Settleable bool `json:"settleable"`
	// Evidence is the rows and the events that show it, a line each.
	Evidence []string `json:"evidence"`
}
