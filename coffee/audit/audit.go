package audit

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/replay"
	"example.com/coffee/internal/text"
)

// Options configure [Run].
type Options struct {
	Client client.Client
	// Namespace is the client's.
	Namespace string
	// Book is the ledger that should hold the orders' money.
	Book *Book
	// Acknowledged are the ids of orders that must exist and have ended. Leave out
	// orders whose retention has ended: the server no longer knows them.
	Acknowledged []string
	// Repair, unless nil, is the same ledger opened for writing. Run settles there
	// what can be settled, and changes nothing else.
	Repair ledger.Store
	// Replay replays a history on the workflow that has to fit it; nil means
	// [coffee.OrderWorkflow.Replay].
	Replay func(desk.History) error
	// Progress, unless nil, is called after each history is read, with how many
	// were read and how many are known so far. Calls do not overlap.
	Progress func(read, known int)
}

// Run audits all orders of a namespace. It can run while orders do: it reads an
// order again before it reports a breach. It names the orders that it cannot read, and
// judges the others. An error means that there is no verdict.
func Run(ctx context.Context, options Options) (*Report, error) {
	if options.Replay == nil {
		current := (&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).OrderCoffeeWorkflow
		options.Replay = func(history desk.History) error { return replay.Check(current, history) }
	}
	a := &auditor{Options: options, report: &Report{Breaches: []Breach{}, Repairs: []Repair{}}, stories: map[string][]*story{}, unreadable: map[string]*unread{}}
	a.orders = desk.NewClient(options.Client, options.Namespace)
	if err := a.run(ctx); err != nil {
		return nil, err
	}
	return a.report, nil
}

// auditor is one audit.
type auditor struct {
	Options
	orders *desk.Client
	report *Report
	// keep is how long the server keeps the history of an order that has ended; 0
	// means for ever.
	keep    time.Duration
	horizon *horizon

	mu      sync.Mutex
	stories map[string][]*story // by workflow id
	// unreadable are the workflows that cannot be read. They have no stories.
	unreadable map[string]*unread
	read       int
	known      int
}

func (a *auditor) run(ctx context.Context) error {
	if err := a.guards(ctx); err != nil {
		return err
	}
	if err := a.retention(ctx); err != nil {
		return err
	}
	// Read histories first and rows second: whatever a history said by then is in
	// the ledger.
	if err := a.readOrders(ctx); err != nil {
		return err
	}
	if err := a.readMissing(ctx); err != nil {
		return err
	}
	if err := a.nothingRead(ctx); err != nil {
		return err
	}
	var known []Row
	_, err := a.Book.each(ctx, func(row Row) {
		if len(a.stories[coffee.WorkflowID(row.OrderID)]) > 0 {
			known = append(known, row)
		}
	})
	if err != nil {
		return err
	}
	a.horizon = newHorizon(time.Now(), a.keep, a.stories, known, coffee.WorkflowID)
	if err := a.judgeAll(ctx); err != nil {
		return err
	}
	if err := a.acknowledged(ctx); err != nil {
		return err
	}
	if err := a.figures(ctx); err != nil {
		return err
	}
	slices.SortStableFunc(a.report.Breaches, func(x, y Breach) int { return cmp.Compare(x.OrderID, y.OrderID) })
	slices.SortStableFunc(a.report.Repairs, func(x, y Repair) int { return cmp.Compare(x.OrderID, y.OrderID) })
	return nil
}

// guards checks that the database refuses what it should.
func (a *auditor) guards(ctx context.Context) error {
	missing, err := a.Book.missing(ctx)
	if err != nil {
		return fmt.Errorf("cannot read the ledger: %w", err)
	}
	if len(missing) > 0 {
		a.breach(Breach{Rule: RuleOwner, Problem: "the ledger's table is not protected as it should be", Evidence: prefixed("missing, changed or off: ", missing)})
	}
	return nil
}

func (a *auditor) retention(ctx context.Context) error {
	namespace, err := a.Client.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: a.Namespace})
	if err != nil {
		return err
	}
	a.keep = namespace.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration()
	return nil
}

// judgeAll compares every order with its rows, and settles what it may. It reads an
// order again before it reports a breach, because the order may have moved on in
// between.
func (a *auditor) judgeAll(ctx context.Context) error {
	without := map[string]bool{} // orders of which no row has been seen
	for workflowID := range a.stories {
		if id, ok := strings.CutPrefix(workflowID, coffee.WorkflowID("")); ok {
			without[id] = true
		} else {
			a.report.Breaches = append(a.report.Breaches, newFile("", a.stories[workflowID], nil).judge(a.horizon.suspicious)...)
		}
	}
	for after := ""; ; {
		read, last, err := a.Book.page(ctx, after)
		if err != nil {
			return err
		}
		for id, rows := range byOrder(read) {
			delete(without, id)
			if err := a.judgeOne(ctx, id, rows); err != nil {
				return err
			}
		}
		if last == "" {
			break
		}
		after = last
	}
	for id := range without {
		if err := a.judgeOne(ctx, id, nil); err != nil {
			return err
		}
	}
	return nil
}

// judgeOne judges an order for [auditor.judgeAll].
func (a *auditor) judgeOne(ctx context.Context, id string, rows []Row) (err error) {
	f := newFile(id, a.stories[coffee.WorkflowID(id)], rows)
	breaches := a.judge(f)
	readable := a.unreadable[coffee.WorkflowID(id)] == nil
	if readable && (len(breaches) > 0 || a.Repair != nil && f.unsettled() != nil) {
		if f, err = a.readAgain(ctx, f); err != nil {
			return err
		}
		breaches = a.judge(f)
	}
	if chain := f.unsettled(); chain != nil && a.Repair != nil {
		if err := a.settle(ctx, f, chain, breaches); err != nil {
			return err
		}
		if f, err = a.readAgain(ctx, f); err != nil {
			return err
		}
		breaches = a.judge(f)
	}
	a.report.Breaches = append(a.report.Breaches, breaches...)
	return nil
}

// nothingRead returns an error if no order can be read, although some have been charged:
// then it is not they who are at fault. Mostly there is no keyset.
func (a *auditor) nothingRead(ctx context.Context) error {
	if len(a.stories) > 0 {
		return nil
	}
	for _, workflowID := range slices.Sorted(maps.Keys(a.unreadable)) {
		rows, err := a.Book.of(ctx, strings.TrimPrefix(workflowID, coffee.WorkflowID("")))
		if err != nil {
			return err
		}
		if len(rows) > 0 {
			return a.unreadable[workflowID].err
		}
	}
	return nil
}

// judge returns the breaches of one order. Of one that cannot be read there are only its
// rows, which no history accounts for.
func (a *auditor) judge(f *file) []Breach {
	unread := a.unreadable[coffee.WorkflowID(f.orderID)]
	if unread == nil {
		return f.judge(a.horizon.suspicious)
	}
	j := &judge{file: f}
	if j.entries(); len(f.rows) > 0 {
		j.breach(RuleHistory, nil, "the ledger has rows of it, and it cannot be read: %s", unread.problem())
	}
	return j.breaches
}

// settle refunds an order that ended without a coffee, or records a void where a
// late charge could still come.
func (a *auditor) settle(ctx context.Context, f *file, chain []*story, breaches []Breach) error {
	repair := Repair{OrderID: f.orderID, Problem: "it " + last(chain).end + " while it was being charged"}
	for _, breach := range breaches {
		if breach.Settleable {
			repair.Problem = breach.Problem
			break
		}
	}
	entry, err := a.Repair.Refund(ctx, f.orderID, f.payer(chain))
	if coffee.IsRefusal(err) {
		return nil // the breach remains
	}
	if err != nil {
		return fmt.Errorf("cannot settle order %s: %w", text.Printable(f.orderID), err)
	}
	if entry.Kind == coffee.EntryRefund {
		repair.Done = "refunded " + entry.Amount.String()
	} else {
		repair.Done = "recorded a void: a late charge will be refused"
	}
	a.report.Repairs = append(a.report.Repairs, repair)
	return nil
}

// acknowledged checks that the orders that were acknowledged exist and have ended.
// It reads an order again before it reports a breach.
func (a *auditor) acknowledged(ctx context.Context) error {
	ids := slices.Compact(slices.Sorted(slices.Values(a.Acknowledged)))
	a.report.Acknowledged = len(ids)
	for _, id := range ids {
		f := newFile(id, a.stories[coffee.WorkflowID(id)], nil)
		if a.unreadable[coffee.WorkflowID(id)] == nil && (len(f.chains) == 0 || f.running() != nil) {
			var err error
			if f, err = a.readAgain(ctx, f); err != nil {
				return err
			}
		}
		if unread := a.unreadable[coffee.WorkflowID(id)]; unread != nil {
			if !unread.ended {
				a.breach(Breach{Rule: RuleAcknowledged, OrderID: id, Problem: "it was acknowledged, but cannot be read and has not ended",
					Evidence: []string{unread.problem()}})
			}
		} else if len(f.chains) == 0 {
			a.breach(Breach{Rule: RuleAcknowledged, OrderID: id, Problem: "it was acknowledged, but there is no such order",
				Evidence: []string{"the server has no workflow " + coffee.WorkflowID(id)}})
		} else if s := f.running(); s != nil {
			a.breach(Breach{Rule: RuleAcknowledged, OrderID: id, Problem: "it was acknowledged, but has not ended",
				Evidence: append([]string{"run " + s.runID}, s.evidence...)})
		}
	}
	return nil
}

// figures reads the rows again, as a repair adds some, and counts and sums up.
func (a *auditor) figures(ctx context.Context) error {
	var known []Row
	var others coffee.Cents // the net of orders past their retention
	ledger := &a.report.Ledger
	net, err := a.Book.each(ctx, func(row Row) {
		switch row.Kind {
		case coffee.EntryCharge:
			ledger.Charges++
		case coffee.EntryRefund:
			ledger.Refunds++
		case coffee.EntryVoid:
			ledger.Voids++
		}
		if len(a.stories[coffee.WorkflowID(row.OrderID)]) > 0 {
			known = append(known, row)
		} else {
			others += rows{row}.net()
		}
	})
	if err != nil {
		return err
	}
	ledger.NetCents = net
	if len(a.report.Breaches) == 0 { // otherwise they say more
		a.sums(byOrder(known), others, net)
	}
	a.count()
	return nil
}

// sums compares the ledger's net with what the orders should have paid: those that are
// known, by their rows, and the others by their net.
func (a *auditor) sums(known map[string][]Row, others, net coffee.Cents) {
	var earned, open coffee.Cents
	for id, theirs := range known {
		f := newFile(id, a.stories[coffee.WorkflowID(id)], theirs)
		others += rows(theirs).net()
		for _, chain := range f.chains {
			own := f.rowsOf(chain).net()
			others -= own
			if !last(chain).ended {
				open += own
			}
		}
	}
	for workflowID, stories := range a.stories {
		id := strings.TrimPrefix(workflowID, coffee.WorkflowID(""))
		f := newFile(id, stories, known[id])
		for _, chain := range f.chains {
			if price, _ := priceOf(chain); last(chain).ended && f.made(chain) {
				earned += price.cents
			}
		}
	}
	if earned+open+others != net {
		a.breach(Breach{Rule: RuleNet, Problem: "the sums do not agree", Evidence: []string{
			fmt.Sprintf("the ledger's net is %s", net),
			fmt.Sprintf("the coffees that were made cost %s, running orders have paid %s, orders past their retention %s", earned, open, others),
		}})
	}
}

func byOrder(all []Row) map[string][]Row {
	sorted := map[string][]Row{}
	for _, row := range all {
		sorted[row.OrderID] = append(sorted[row.OrderID], row)
	}
	return sorted
}

func (a *auditor) breach(b Breach) { a.report.Breaches = append(a.report.Breaches, b) }

func prefixed(prefix string, lines []string) []string {
	var prefixed []string
	for _, line := range lines {
		prefixed = append(prefixed, prefix+line)
	}
	return prefixed
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
