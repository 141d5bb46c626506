package audit

import "fmt"

// Rule is one of the rules that always hold, under any crash, race or retry.
type Rule int

// The rules, numbered from 1. Only [Rule.String] says what each demands.
const (
	RuleCharge Rule = iota + 1
	RuleRefund
	RuleNet
	RuleUndone
	RuleClosed
	RuleOwner
	RuleHistory
	RuleAcknowledged
)

// Rules returns all rules, in the order of their numbers.
func Rules() []Rule {
	return []Rule{RuleCharge, RuleRefund, RuleNet, RuleUndone, RuleClosed, RuleOwner, RuleHistory, RuleAcknowledged}
}

// String returns what the rule demands. It is the only source of the rules'
// wording: the list in docs/durability.md is checked against it.
func (r Rule) String() string {
	switch r {
	case RuleCharge:
		return "at most one charge per order, of the price that the first of its runs was accepted at"
	case RuleRefund:
		return "at most one refund per order, which gives back exactly what its charge took"
	case RuleNet:
		return "an order's net is its price if the ledger has the delivery of its coffee, by whichever of its runs, and 0 otherwise; an order cancelled in time is not completed; over all orders the sums agree"
	case RuleUndone:
		return "a cancelled or failed order has net 0 and no receipt"
	case RuleClosed:
		return "no charge after a void or a refund"
	case RuleOwner:
		return "every row of the ledger belongs to an order that exists, or existed until its retention ended; the database refuses to change or delete rows"
	case RuleHistory:
		return "a history that says charged, refunded or handed out has its row in the ledger, and every history replays on the current workflow"
	case RuleAcknowledged:
		return "every order that a client was told is accepted exists, and ends"
	}
	return fmt.Sprintf("rule %d", int(r))
}

// Breach is one rule broken by one order, or by the ledger as a whole.
type Breach struct {
	Rule Rule `json:"rule"`
	// OrderID is empty if the ledger as a whole breaks the rule.
	OrderID string `json:"order_id,omitempty"`
	// Problem is one line.
	Problem string `json:"problem"`
	// Settleable is true if a repair settles it.
	Settleable bool `json:"settleable"`
	// Evidence lists the rows and the events that show it, one each.
	Evidence []string `json:"evidence"`
}
