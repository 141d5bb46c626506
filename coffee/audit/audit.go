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
	a := &auditor{
		Options: options, orders: desk.NewClient(options.Client, options.Namespace),
		report:  &Report{Breaches: []Breach{}, Repairs: []Repair{}},
		stories: map[string][]*story{}, unreadable: map[string]*unread{},
	}
	// Histories are read first and rows second: whatever a history said by then is in the
	// ledger.
	for _, step := range []func(context.Context) error{
		a.guards, a.retention, a.readOrders, a.readMissing, a.nothingRead, a.judgeAll, a.acknowledged, a.figures,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(a.report.Breaches, func(x, y Breach) int { return cmp.Compare(x.OrderID, y.OrderID) })
	slices.SortStableFunc(a.report.Repairs, func(x, y Repair) int { return cmp.Compare(x.OrderID, y.OrderID) })
	return a.report, nil
}

// auditor is one audit.
type auditor struct {
	Options
	orders *desk.Client
	report *Report
	// keep is how long the server keeps the history of an order that has ended; 0
	// means for ever.
	keep time.Duration
	// horizon is the time since which histories must exist, by the rows of known orders.
	horizon *horizon
	rows    []Row

	mu      sync.Mutex
	stories map[string][]*story // by workflow id
	// unreadable are the workflows that cannot be read. They have no stories.
	unreadable map[string]*unread
	read       int
	known      int
}

// guards checks that the database refuses what it should.
func (a *auditor) guards(ctx context.Context) error {
	missing, err := a.Book.missing(ctx)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		for i := range missing {
			missing[i] = "missing, changed or off: " + missing[i]
		}
		a.breach(RuleOwner, "", "the ledger's table is not protected as it should be", missing...)
	}
	return nil
}

func (a *auditor) retention(ctx context.Context) error {
	namespace, err := a.Client.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: a.Namespace})
	a.keep = namespace.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration()
	return err
}

// file returns everything known about an order.
func (a *auditor) file(id string, rows []Row) *file {
	return newFile(id, a.stories[coffee.WorkflowID(id)], rows)
}

// judgeAll compares every order with its rows. It looks at some again, once it has read the
// ledger.
func (a *auditor) judgeAll(ctx context.Context) error {
	a.horizon = newHorizon(time.Now(), a.keep, a.stories, a.rows)
	without := map[string]bool{} // orders of which no row has been seen
	for workflowID, stories := range a.stories {
		if id := coffee.OrderID(workflowID); id != workflowID {
			without[id] = true
		} else {
			a.report.Breaches = append(a.report.Breaches, newFile("", stories, nil).judge(a.horizon.suspicious)...)
		}
	}
	var again []string
	look := func(id string, rows []Row) {
		if f := a.file(id, rows); len(a.judge(f)) > 0 || a.Repair != nil && f.unsettled() != nil {
			again = append(again, id)
		}
	}
	err := a.Book.each(ctx, func(id string, rows []Row) error {
		delete(without, id)
		look(id, rows)
		return nil
	})
	if err != nil {
		return err
	}
	for id := range without {
		look(id, nil)
	}
	for _, id := range again {
		if err := a.judgeAgain(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// judgeAgain reads an order again before it reports a breach, because the order may have
// moved on in between, and settles what it may.
func (a *auditor) judgeAgain(ctx context.Context, id string) error {
	f, err := a.readAgain(ctx, id)
	if err != nil {
		return err
	}
	if chain := f.unsettled(); chain != nil && a.Repair != nil {
		if err := a.settle(ctx, f, chain, a.judge(f)); err != nil {
			return err
		}
		if f, err = a.readAgain(ctx, id); err != nil {
			return err
		}
	}
	a.report.Breaches = append(a.report.Breaches, a.judge(f)...)
	return nil
}

// nothingRead returns an error if no order can be read, although some have been charged:
// then it is not they who are at fault. Mostly there is no keyset.
func (a *auditor) nothingRead(ctx context.Context) error {
	if len(a.stories) > 0 {
		return nil
	}
	for _, workflowID := range slices.Sorted(maps.Keys(a.unreadable)) {
		if rows, err := a.Book.of(ctx, coffee.OrderID(workflowID)); err != nil {
			return err
		} else if len(rows) > 0 {
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
	if i := slices.IndexFunc(breaches, func(b Breach) bool { return b.Settleable }); i >= 0 {
		repair.Problem = breaches[i].Problem
	}
	entry, err := a.Repair.Refund(ctx, f.orderID, f.payer(chain))
	if coffee.IsRefusal(err) {
		return nil // the breach remains
	}
	if err != nil {
		return fmt.Errorf("cannot settle order %s: %w", text.Printable(f.orderID), err)
	}
	repair.Done = "recorded a void: a late charge will be refused"
	if entry.Kind == coffee.EntryRefund {
		repair.Done = "refunded " + entry.Amount.String()
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
		workflowID := coffee.WorkflowID(id)
		f := a.file(id, nil)
		if len(f.chains) == 0 || f.running() != nil {
			var err error
			if f, err = a.readAgain(ctx, id); err != nil {
				return err
			}
		}
		unread, s := a.unreadable[workflowID], f.running()
		switch {
		case unread != nil && !unread.ended:
			a.breach(RuleAcknowledged, id, "it was acknowledged, but cannot be read and has not ended", unread.problem())
		case unread != nil:
		case len(f.chains) == 0:
			a.breach(RuleAcknowledged, id, "it was acknowledged, but there is no such order", "the server has no workflow "+workflowID)
		case s != nil:
			a.breach(RuleAcknowledged, id, "it was acknowledged, but has not ended", append([]string{"run " + s.runID}, s.evidence...)...)
		}
	}
	return nil
}

// figures reads the rows again, as a repair adds some, and counts and sums up.
func (a *auditor) figures(ctx context.Context) error {
	var sum sums
	figures := &a.report.Ledger
	err := a.Book.each(ctx, func(id string, rows []Row) error {
		f := a.file(id, rows)
		figures.Charges += len(f.rows.of(coffee.EntryCharge))
		figures.Refunds += len(f.rows.of(coffee.EntryRefund))
		figures.Voids += len(f.rows.of(coffee.EntryVoid))
		figures.NetCents += f.rows.net()
		sum.add(f)
		return nil
	})
	if len(a.report.Breaches) == 0 { // otherwise they say more
		a.compare(sum, figures.NetCents)
	}
	a.count()
	return err
}

// sums is what the orders should have paid: the coffees that were made, and what running
// orders and those past their retention have paid.
type sums struct{ earned, open, others coffee.Cents }

func (s *sums) add(f *file) {
	s.others += f.rows.net()
	for _, chain := range f.chains {
		own := f.rowsOf(chain).net()
		s.others -= own
		if !last(chain).ended {
			s.open += own
		} else if f.made(chain) {
			price, _ := priceOf(chain)
			s.earned += price.cents
		}
	}
}

// compare compares the ledger's net with what the orders should have paid.
func (a *auditor) compare(sum sums, net coffee.Cents) {
	if sum.earned+sum.open+sum.others != net {
		a.breach(RuleNet, "", "the sums do not agree", fmt.Sprintf("the ledger's net is %s", net),
			fmt.Sprintf("the coffees that were made cost %s, running orders have paid %s, orders past their retention %s", sum.earned, sum.open, sum.others))
	}
}

// breach adds a breach that is not found by comparing an order with its rows.
func (a *auditor) breach(rule Rule, id, problem string, evidence ...string) {
	a.report.Breaches = append(a.report.Breaches, Breach{Rule: rule, OrderID: id, Problem: problem, Evidence: evidence})
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
