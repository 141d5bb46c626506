package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"

	"example.com/coffee/coffee"
)

// Options say what to audit.
type Options struct {
	Client client.Client
	// Namespace is the client's.
	Namespace string
	// Book is the ledger that the orders' money should be in.
	Book *Book
	// Acknowledged are the ids of orders that must exist, and have ended. Orders
	// whose retention has ended do not belong here: nobody knows of them.
	Acknowledged []string
	// Repair, unless nil, is the same ledger for writing: what can be settled
	// is settled there. Nothing else is ever changed.
	Repair coffee.Ledger
	// Progress, unless nil, is called after each order that was read. It is
	// never called twice at once.
	Progress func(read, known int)
}

// Report is the outcome of an audit.
type Report struct {
	Orders Orders `json:"orders"`
	Ledger Ledger `json:"ledger"`
	// Replayed is how many histories were replayed.
	Replayed int `json:"replayed"`
	// Acknowledged is how many orders were known to be acknowledged.
	Acknowledged int `json:"acknowledged"`
	// Breaches are sorted by order.
	Breaches []Breach `json:"breaches"`
	// Repairs are what was settled; the breaches are those that remain.
	Repairs []Repair `json:"repairs"`
}

// Orders counts the orders by how they ended.
type Orders struct {
	Completed int `json:"completed"`
	Failed    int `json:"failed"`
	Cancelled int `json:"cancelled"`
	// Invalid orders were refused: they ended with an error before any charge.
	Invalid int `json:"invalid"`
	// Stopped orders were terminated or timed out from outside, or ended with
	// an error after a charge was attempted.
	Stopped int `json:"stopped"`
	Running int `json:"running"`
}

// Total is how many orders there are.
func (o Orders) Total() int {
	return o.Completed + o.Failed + o.Cancelled + o.Invalid + o.Stopped + o.Running
}

// Ledger sums up the ledger.
type Ledger struct {
	Charges  int          `json:"charges"`
	Refunds  int          `json:"refunds"`
	Voids    int          `json:"voids"`
	NetCents coffee.Cents `json:"net_cents"`
}

// Repair is what was done about one order.
type Repair struct {
	OrderID string `json:"order_id"`
	Problem string `json:"problem"`
	Done    string `json:"done"`
}

// Run audits all orders of a namespace. It can run while orders do: what it
// finds wrong it reads once more before it says so. An error means that there
// is no verdict.
func Run(ctx context.Context, options Options) (*Report, error) {
	a := &auditor{Options: options, report: &Report{Breaches: []Breach{}, Repairs: []Repair{}}, stories: map[string][]*story{}}
	if err := a.run(ctx); err != nil {
		return nil, err
	}
	return a.report, nil
}

// auditor is one audit.
type auditor struct {
	Options
	report *Report
	// keep is for how long the server keeps the history of an order that has
	// ended; 0 means for ever.
	keep    time.Duration
	horizon *horizon

	mu      sync.Mutex
	stories map[string][]*story // by workflow id
	read    int
	known   int
}

func (a *auditor) run(ctx context.Context) error {
	if err := a.guards(ctx); err != nil {
		return err
	}
	if err := a.retention(ctx); err != nil {
		return err
	}
	// Histories first, rows second: whatever a history has said by then is in
	// the ledger.
	if err := a.readOrders(ctx); err != nil {
		return err
	}
	all, _, err := a.Book.all(ctx)
	if err != nil {
		return err
	}
	// The server's list of workflows lags a little; ask for those that are
	// missing from it by name.
	missing := slices.Clone(a.Acknowledged)
	oldest := time.Now().Add(-a.keep)
	for _, row := range all {
		if a.keep <= 0 || row.RecordedAt.After(oldest) {
			missing = append(missing, row.OrderID)
		}
	}
	if err := a.readMissing(ctx, missing); err != nil {
		return err
	}
	a.horizon = newHorizon(time.Now(), a.keep, a.stories, all, coffee.WorkflowID)
	if err := a.judgeAll(ctx, byOrder(all)); err != nil {
		return err
	}
	if err := a.acknowledged(ctx); err != nil {
		return err
	}
	// Once more, for the figures: rows were added if something was settled.
	all, net, err := a.Book.all(ctx)
	if err != nil {
		return err
	}
	if len(a.report.Breaches) == 0 { // otherwise they say it better
		a.sums(byOrder(all), net)
	}
	a.count(all, net)
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

// run is one run of a workflow.
type run struct {
	execution *commonpb.WorkflowExecution
	startedAt time.Time
}

// readOrders reads the history of every order that the server lists.
func (a *auditor) readOrders(ctx context.Context) error {
	var runs []run
	listed := map[string]bool{}
	var token []byte
	for {
		page, err := a.Client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace:     a.Namespace,
			Query:         "WorkflowType = '" + coffee.WorkflowType + "'",
			PageSize:      1000,
			NextPageToken: token,
		})
		if err != nil {
			return err
		}
		for _, info := range page.GetExecutions() {
			// A run that ends between two pages can be on both.
			if id := info.GetExecution().GetRunId(); !listed[id] {
				listed[id] = true
				runs = append(runs, run{info.GetExecution(), info.GetStartTime().AsTime()})
			}
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			return a.readRuns(ctx, runs)
		}
	}
}

// readMissing reads the orders of these ids that have not been read yet, as far
// as there are such orders.
func (a *auditor) readMissing(ctx context.Context, ids []string) error {
	var runs []run
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if len(a.stories[coffee.WorkflowID(id)]) > 0 {
			continue
		}
		current, err := a.currentRun(ctx, id)
		if err != nil {
			return err
		}
		if current != nil {
			runs = append(runs, *current)
		}
	}
	return a.readRuns(ctx, runs)
}

// currentRun is the latest run of an order; nil if there is none.
func (a *auditor) currentRun(ctx context.Context, id string) (*run, error) {
	described, err := a.Client.DescribeWorkflowExecution(ctx, coffee.WorkflowID(id), "")
	var notFound *serviceerror.NotFound
	var invalid *serviceerror.InvalidArgument
	if errors.As(err, &notFound) || errors.As(err, &invalid) { // no workflow can have such an id
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info := described.GetWorkflowExecutionInfo()
	if info.GetType().GetName() != coffee.WorkflowType {
		return nil, nil
	}
	return &run{info.GetExecution(), info.GetStartTime().AsTime()}, nil
}

// readRuns reads the histories of some runs.
func (a *auditor) readRuns(ctx context.Context, runs []run) error {
	a.known += len(runs)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, r := range runs {
		group.Go(func() error {
			s, err := a.readRun(ctx, r)
			if err != nil {
				return fmt.Errorf("cannot read the history of %s: %w", coffee.Printable(r.execution.GetWorkflowId()), err)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			a.read++
			if s != nil {
				a.stories[s.workflowID] = append(a.stories[s.workflowID], s)
			}
			if a.Progress != nil {
				a.Progress(a.read, a.known)
			}
			return nil
		})
	}
	return group.Wait()
}

// readRun reads and replays one history; nil if it was deleted meanwhile.
func (a *auditor) readRun(ctx context.Context, r run) (*story, error) {
	history := &historypb.History{}
	events := a.Client.GetWorkflowHistory(ctx, r.execution.GetWorkflowId(), r.execution.GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		var notFound *serviceerror.NotFound
		if errors.As(err, &notFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		history.Events = append(history.Events, event)
	}
	s := readStory(r.execution, r.startedAt, history)
	if err := replay(r.execution, history); err != nil {
		s.unreplayable = oneLine(err.Error())
	}
	return s, nil
}

// replay replays a history on the workflow as this program has it. One that no
// worker has worked on yet has nothing to replay.
func replay(execution *commonpb.WorkflowExecution, history *historypb.History) error {
	worked := slices.ContainsFunc(history.GetEvents(), func(event *historypb.HistoryEvent) bool {
		return event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
	})
	if !worked {
		return nil
	}
	replayer := worker.NewWorkflowReplayer()
	(&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).Register(replayer)
	return replayer.ReplayWorkflowHistoryWithOptions(coffee.NewSDKLogger(zerolog.Nop()), history, worker.ReplayWorkflowHistoryOptions{
		OriginalExecution: workflow.Execution{ID: execution.GetWorkflowId(), RunID: execution.GetRunId()},
	})
}

// judgeAll compares every order with its rows, and what is wrong once more, with
// what is known by then: an order may have moved on in between.
func (a *auditor) judgeAll(ctx context.Context, rows map[string][]Row) error {
	ids := map[string]bool{}
	for workflowID := range a.stories {
		if id, ok := strings.CutPrefix(workflowID, coffee.WorkflowID("")); ok {
			ids[id] = true
		} else {
			a.report.Breaches = append(a.report.Breaches, newFile("", a.stories[workflowID], nil).judge(a.horizon.suspicious)...)
		}
	}
	for id := range rows {
		ids[id] = true
	}
	for id := range ids {
		f := newFile(id, a.stories[coffee.WorkflowID(id)], rows[id])
		breaches := f.judge(a.horizon.suspicious)
		if len(breaches) > 0 || a.Repair != nil && f.unsettled() != nil {
			var err error
			if f, err = a.readAgain(ctx, f); err != nil {
				return err
			}
			breaches = f.judge(a.horizon.suspicious)
		}
		if chain := f.unsettled(); chain != nil && a.Repair != nil {
			if err := a.settle(ctx, f, chain, breaches); err != nil {
				return err
			}
			var err error
			if f, err = a.readAgain(ctx, f); err != nil {
				return err
			}
			breaches = f.judge(a.horizon.suspicious)
		}
		a.report.Breaches = append(a.report.Breaches, breaches...)
	}
	return nil
}

// readAgain reads the runs of an order anew, with the latest one, which may have
// begun meanwhile, and then its rows.
func (a *auditor) readAgain(ctx context.Context, f *file) (*file, error) {
	workflowID := coffee.WorkflowID(f.orderID)
	current, err := a.currentRun(ctx, f.orderID)
	if err != nil {
		return nil, err
	}
	var runs []run
	for _, s := range a.stories[workflowID] {
		runs = append(runs, run{&commonpb.WorkflowExecution{WorkflowId: workflowID, RunId: s.runID}, s.startedAt})
	}
	if current != nil && !slices.ContainsFunc(runs, func(r run) bool { return r.execution.GetRunId() == current.execution.GetRunId() }) {
		runs = append(runs, *current)
	}
	delete(a.stories, workflowID)
	if err := a.readRuns(ctx, runs); err != nil {
		return nil, err
	}
	rows, err := a.Book.of(ctx, f.orderID)
	if err != nil {
		return nil, err
	}
	return newFile(f.orderID, a.stories[workflowID], rows), nil
}

// settle gives back what an order has paid that ended without a coffee, or
// closes its book where a late charge could still come.
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
		return fmt.Errorf("cannot settle order %s: %w", coffee.Printable(f.orderID), err)
	}
	if entry.Kind == coffee.EntryRefund {
		repair.Done = "refunded " + entry.Amount.String()
	} else {
		repair.Done = "recorded a void: a late charge will be refused"
	}
	a.report.Repairs = append(a.report.Repairs, repair)
	return nil
}

// acknowledged looks for orders that somebody was told are accepted. What it
// does not find as it should be, it reads once more.
func (a *auditor) acknowledged(ctx context.Context) error {
	ids := slices.Compact(slices.Sorted(slices.Values(a.Acknowledged)))
	a.report.Acknowledged = len(ids)
	for _, id := range ids {
		f := newFile(id, a.stories[coffee.WorkflowID(id)], nil)
		if len(f.chains) == 0 || f.running() != nil {
			var err error
			if f, err = a.readAgain(ctx, f); err != nil {
				return err
			}
		}
		if len(f.chains) == 0 {
			a.breach(Breach{Rule: RuleAcknowledged, OrderID: id, Problem: "it was acknowledged, but there is no such order",
				Evidence: []string{"the server has no workflow " + coffee.WorkflowID(id)}})
		} else if s := f.running(); s != nil {
			a.breach(Breach{Rule: RuleAcknowledged, OrderID: id, Problem: "it was acknowledged, but has not ended",
				Evidence: append([]string{"run " + s.runID}, s.evidence...)})
		}
	}
	return nil
}

// sums compares the ledger's net with what the orders should have paid.
func (a *auditor) sums(byOrder map[string][]Row, net coffee.Cents) {
	var earned, open, others coffee.Cents
	for id, theirs := range byOrder {
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
		f := newFile(id, stories, byOrder[id])
		for _, chain := range f.chains {
			s := last(chain)
			price, _ := s.price()
			switch {
			case !s.ended:
			case f.made(chain):
				earned += price
			case mayHaveMade(chain): // that it is one or the other has been judged
				earned += f.rowsOf(chain).net()
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

// count fills in the figures.
func (a *auditor) count(all []Row, net coffee.Cents) {
	orders := &a.report.Orders
	for workflowID, stories := range a.stories {
		a.report.Replayed += len(stories)
		for _, chain := range newFile(workflowID, stories, nil).chains {
			switch s := last(chain); {
			case !s.ended:
				orders.Running++
			case s.result == nil && !s.chargeScheduled && (strings.HasPrefix(s.end, "ended with an error") || s.end == endedCancelled && len(s.amounts) == 0):
				orders.Invalid++
			case s.result == nil:
				orders.Stopped++
			case s.result.Status == coffee.StatusCompleted:
				orders.Completed++
			case s.result.Status == coffee.StatusCancelled:
				orders.Cancelled++
			default:
				orders.Failed++
			}
		}
	}
	a.report.Ledger = Ledger{
		Charges:  len(rows(all).of(coffee.EntryCharge)),
		Refunds:  len(rows(all).of(coffee.EntryRefund)),
		Voids:    len(rows(all).of(coffee.EntryVoid)),
		NetCents: net,
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
