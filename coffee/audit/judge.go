package audit

import (
	"fmt"
	"slices"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/text"
)

// file is everything known about one workflow id: its runs, and the ledger's rows
// of the order.
type file struct {
	orderID string
	// chains are the runs, grouped by their original run. Within a chain the last
	// run counts; the ones before it were reset.
	chains [][]*story
	rows   rows
}

// newFile groups the runs of one workflow id into chains.
func newFile(orderID string, stories []*story, rows []Row) *file {
	f := &file{orderID: orderID, rows: rows}
	slices.SortStableFunc(stories, func(a, b *story) int { return a.startedAt.Compare(b.startedAt) })
	for _, s := range stories {
		i := slices.IndexFunc(f.chains, func(chain []*story) bool { return chain[0].origin == s.origin })
		if i < 0 {
			f.chains = append(f.chains, []*story{s})
		} else {
			f.chains[i] = append(f.chains[i], s)
		}
	}
	return f
}

// last returns the run of a chain that counts.
func last(chain []*story) *story { return chain[len(chain)-1] }

// rowsOf returns the rows that a chain has written.
func (f *file) rowsOf(chain []*story) rows {
	var own rows
	for _, row := range f.rows {
		if row.RunID == chain[0].origin || slices.ContainsFunc(chain, func(s *story) bool { return s.runID == row.RunID }) {
			own = append(own, row)
		}
	}
	return own
}

// rows are some rows of one order.
type rows []Row

func (r rows) of(kind coffee.EntryKind) rows {
	var some rows
	for _, row := range r {
		if row.Kind == kind {
			some = append(some, row)
		}
	}
	return some
}

func (r rows) net() (net coffee.Cents) {
	for _, row := range r.of(coffee.EntryCharge) {
		net += row.Amount
	}
	for _, row := range r.of(coffee.EntryRefund) {
		net -= row.Amount
	}
	return net
}

// made reports whether a chain gave the customer a coffee, by whichever of its runs.
// The ledger alone decides that: a delivery and a refund exclude each other there.
func (f *file) made(chain []*story) bool { return len(f.rowsOf(chain).of(kindDelivery)) > 0 }

// judge returns the breaches of one order. Rows of unknown runs are breaches only
// if suspicious says why their history must still exist.
func (f *file) judge(suspicious func(Row) string) []Breach {
	j := &judge{file: f}
	j.entries()
	unsettled := f.unsettled()
	for _, chain := range f.chains {
		j.settleable = unsettled != nil && last(unsettled) == last(chain)
		j.chain(chain, f.rowsOf(chain))
	}
	for _, row := range f.rows {
		if f.owns(row) {
			continue
		}
		if why := suspicious(row); why != "" {
			j.breach(RuleOwner, nil, "%s belongs to no order, %s", row.what(), why)
			break
		}
	}
	return j.breaches
}

// owns reports whether a row belongs to one of the chains.
func (f *file) owns(row Row) bool {
	return slices.ContainsFunc(f.chains, func(chain []*story) bool { return slices.Contains(f.rowsOf(chain), row) })
}

// judge gathers the breaches of one file.
type judge struct {
	file       *file
	settleable bool // a repair gives back the money left behind
	breaches   []Breach
}

// breach adds a breach, unless it was added before.
func (j *judge) breach(rule Rule, s *story, format string, args ...any) {
	b := Breach{Rule: rule, OrderID: j.file.orderID, Problem: fmt.Sprintf(format, args...), Settleable: j.settleable && rule == RuleNet}
	if slices.ContainsFunc(j.breaches, func(other Breach) bool { return other.Rule == b.Rule && other.Problem == b.Problem }) {
		return
	}
	for _, row := range j.file.rows {
		b.Evidence = append(b.Evidence, row.String())
	}
	if len(j.file.rows) == 0 {
		b.Evidence = append(b.Evidence, "the ledger has no row of the order")
	}
	if s != nil {
		b.Evidence = append(b.Evidence, "run "+s.runID)
		b.Evidence = append(b.Evidence, s.evidence...)
	}
	j.breaches = append(j.breaches, b)
}

// entries judges the rows of an order by themselves, whichever run wrote them.
func (j *judge) entries() {
	all := j.file.rows
	charges, refunds, voids := all.of(coffee.EntryCharge), all.of(coffee.EntryRefund), all.of(coffee.EntryVoid)
	if len(charges) > 1 {
		j.breach(RuleCharge, nil, "charged %d times", len(charges))
	}
	if len(refunds) > 1 {
		j.breach(RuleRefund, nil, "refunded %d times", len(refunds))
	}
	for _, refund := range refunds {
		same := slices.ContainsFunc(charges, func(charge Row) bool { return charge.Amount == refund.Amount && charge.RunID == refund.RunID })
		switch {
		case len(charges) == 0:
			j.breach(RuleRefund, nil, "a refund of %s without a charge", refund.Amount)
		case !same:
			j.breach(RuleRefund, nil, "the refund does not match the charge: %s by run %s", refund.Amount, refund.RunID)
		}
	}
	for _, charge := range charges {
		for _, closing := range slices.Concat(refunds, voids) {
			if closing.Kind == coffee.EntryVoid || closing.Number < charge.Number {
				j.breach(RuleClosed, nil, "charged despite a %s", closing.Kind)
			}
		}
	}
	deliveries := all.of(kindDelivery)
	if len(deliveries) > 1 {
		j.breach(RuleNet, nil, "handed out %d times", len(deliveries))
	}
	for _, delivery := range deliveries {
		if !slices.ContainsFunc(charges, func(charge Row) bool { return charge.RunID == delivery.RunID }) {
			j.breach(RuleNet, nil, "the coffee was handed out without a charge")
		}
		if len(refunds)+len(voids) > 0 {
			j.breach(RuleNet, nil, "the coffee was handed out, and its price given back")
		}
	}
	if len(all) != len(charges)+len(refunds)+len(voids)+len(deliveries) {
		j.breach(RuleOwner, nil, "a row that is neither charge nor refund nor void")
	}
}

// chain compares the runs of a chain with their rows.
func (j *judge) chain(chain []*story, own rows) {
	s := last(chain)
	for _, s := range chain {
		if s.unreplayable != "" {
			j.breach(RuleHistory, s, "the history does not replay: %s", s.unreplayable)
		}
		if (s.charged || s.result != nil && s.result.Charged) && len(own.of(coffee.EntryCharge)) == 0 {
			j.breach(RuleHistory, s, "the history says charged, the ledger does not")
		}
		if (s.refunded || s.result != nil && s.result.Refunded) && len(own.of(coffee.EntryRefund)) == 0 {
			j.breach(RuleHistory, s, "the history says refunded, the ledger does not")
		}
		if s.saysHandedOut() && !j.file.made(chain) {
			j.breach(RuleHistory, s, "the history says handed out, the ledger does not")
		}
	}
	if s.result != nil && coffee.WorkflowID(s.result.OrderID) != s.workflowID {
		j.breach(RuleHistory, s, "the result is that of order %s", text.Quote(s.result.OrderID))
	}
	price, accepted := priceOf(chain)
	for _, s := range chain {
		for _, amount := range s.amounts {
			if amount.cents != price.cents {
				j.breach(RuleCharge, s, "the price changed: %s when %s, %s when %s", price.cents, price.where, amount.cents, amount.where)
			}
		}
	}
	for _, charge := range own.of(coffee.EntryCharge) {
		if !accepted {
			j.breach(RuleCharge, s, "charged %s, although it was never accepted", charge.Amount)
		} else if charge.Amount != price.cents {
			j.breach(RuleCharge, s, "charged %s; its price is %s", charge.Amount, price.cents)
		}
	}
	j.net(chain, own.net(), price.cents)
}

// priceOf returns the price of a chain: what the first of its runs that was accepted was
// accepted at. No reset changes it. priceOf returns false if no run was accepted.
func priceOf(chain []*story) (price amount, accepted bool) {
	for _, s := range chain {
		if len(s.amounts) > 0 {
			return s.amounts[0], true
		}
	}
	return amount{}, false
}

// net compares what an order has paid with what its runs have done.
func (j *judge) net(chain []*story, net, price coffee.Cents) {
	s, made := last(chain), j.file.made(chain)
	undone := s.result != nil && !s.completedOrder()
	switch {
	case net != 0 && net != price:
		j.breach(RuleNet, s, "the net is %s; it must be 0 or %s", net, price)
	case !s.ended:
	case made && net != price:
		j.breach(RuleNet, s, "the coffee was handed out, but the net is %s instead of %s", net, price)
	case undone && net != 0:
		j.breach(RuleUndone, s, "it %s, but the net is %s", s.end, net)
	case !made && net != 0:
		j.breach(RuleNet, s, "it %s and no coffee was handed out, but the net is %s", s.end, net)
	}
	if undone && (s.receipt && !s.refused || s.result.ReceiptSent) {
		j.breach(RuleUndone, s, "it %s, but there is a receipt", s.end)
	}
	if s.completedOrder() {
		if s.cancelled {
			j.breach(RuleNet, s, "it was cancelled in time, but completed")
		}
		if net == 0 && !made || !s.brewed && !s.toldDelivered {
			j.breach(RuleNet, s, "it %s, but no coffee was made and paid for", s.end)
		}
	}
}

// unsettled returns the chain that was ended from outside and left money behind, or may
// still be charged late; nil if there is no such chain. It leaves an order with a running
// run alone. One whose own workflow ended it and kept the money has met a fault of the
// program, which a repair would hide.
func (f *file) unsettled() []*story {
	if f.running() != nil {
		return nil
	}
	for _, chain := range f.chains {
		own := f.rowsOf(chain)
		charged := len(own.of(coffee.EntryCharge)) > 0
		pending := slices.ContainsFunc(chain, func(s *story) bool { return s.chargeScheduled }) && len(f.rows) == 0
		closed := len(own.of(coffee.EntryRefund)) > 0 || len(own.of(coffee.EntryVoid)) > 0
		if last(chain).stopped && !f.made(chain) && !closed && (charged || pending) {
			return chain
		}
	}
	return nil
}

// running returns a run that has not ended; nil if all have.
func (f *file) running() *story {
	for _, chain := range f.chains {
		if s := last(chain); !s.ended {
			return s
		}
	}
	return nil
}

// payer returns the run id that the ledger knows a chain by.
func (f *file) payer(chain []*story) string {
	if charges := f.rowsOf(chain).of(coffee.EntryCharge); len(charges) > 0 {
		return charges[0].RunID
	}
	return chain[0].origin
}
