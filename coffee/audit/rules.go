package audit

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

// demands is what each rule demands, and the only source of the rules' wording: the list in
// docs/durability.md is checked against it.
var demands = [...]string{
	RuleCharge:       "at most one charge per order, of the price that the first of its runs was accepted at",
	RuleRefund:       "at most one refund per order, which gives back exactly what its charge took",
	RuleNet:          "an order's net is its price if the ledger has the delivery of its coffee, by whichever of its runs, and 0 otherwise; an order cancelled in time is not completed; over all orders the sums agree",
	RuleUndone:       "a cancelled or failed order has net 0 and no receipt",
	RuleClosed:       "no charge after a void or a refund",
	RuleOwner:        "every row of the ledger belongs to an order that exists, or existed until its retention ended; the database refuses to change or delete rows",
	RuleHistory:      "a history that says charged, refunded or handed out has its row in the ledger, and every history replays on the current workflow",
	RuleAcknowledged: "every order that a client was told is accepted exists, and ends",
}

// Rules returns all rules, in the order of their numbers.
func Rules() (rules []Rule) {
	for i := range demands[1:] {
		rules = append(rules, Rule(i+1))
	}
	return rules
}

// String returns what the rule demands.
func (r Rule) String() string { return demands[r] }

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
