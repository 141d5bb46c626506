package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/ledger/ledgertest"
)

// resetTo resets the current run of an order to an event, as an operator does
// with temporal workflow reset. Signals after the event are reapplied only if
// keepSignals is set. No reset reapplies requests to cancel.
func (s *shop) resetTo(ctx context.Context, id string, event int64, keepSignals bool) error {
	var exclude []enumspb.ResetReapplyExcludeType
	if !keepSignals {
		exclude = []enumspb.ResetReapplyExcludeType{enumspb.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL}
	}
	_, err := s.conn.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace:                 s.conn.Namespace,
		WorkflowExecution:         &commonpb.WorkflowExecution{WorkflowId: coffee.WorkflowID(id)},
		WorkflowTaskFinishEventId: event,
		ResetReapplyExcludeTypes:  exclude,
		RequestId:                 fmt.Sprintf("reset to %d", event),
		Reason:                    "test",
	})
	return err
}

// ended waits until the order has ended, whatever the outcome of its runs.
func (s *shop) ended(ctx context.Context, id string) (coffee.OrderResult, error) {
	s.T.Helper()
	result, err := s.Orders.Result(ctx, id)
	var ended *coffee.EndedError
	if err != nil && !errors.As(err, &ended) {
		s.T.Fatalf("order %s: %v", id, err)
	}
	return result, err
}

// net returns what the order has paid according to the ledger, which has no more
// than one charge and one refund.
func (s *shop) net(ctx context.Context, id string) (net coffee.Cents) {
	s.T.Helper()
	entries, err := s.Ledger.Entries(ctx, id)
	if err != nil {
		s.T.Fatal(err)
	}
	for _, entry := range entries {
		switch entry.Kind {
		case coffee.EntryCharge:
			net += entry.Amount
		case coffee.EntryRefund:
			net -= entry.Amount
		}
	}
	return net
}

// TestResetOfACompletedOrder: the coffee was handed out, and an operator resets
// the order to before its brew. Whatever happens to it then, the coffee is paid. A list
// has each order once.
func TestResetOfACompletedOrder(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	stop := s.startWorkerWith(coffee.WorkerOptions{})
	ids := []string{"untouched", "cancelled", "terminated", "let"}
	for _, id := range ids {
		s.Place(ctx, id)
		s.WantCompleted(ctx, id, 525)
	}
	stop()
	for _, id := range ids[1:] {
		if err := s.resetTo(ctx, id, chargedTask, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Orders.Cancel(ctx, "cancelled", ""); err != nil {
		t.Fatal(err)
	}
	if err := s.conn.TerminateWorkflow(ctx, coffee.WorkflowID("terminated"), "", "test"); err != nil {
		t.Fatal(err)
	}
	// A second coffee would take so long that the test would fail.
	s.startWorkerWith(coffee.WorkerOptions{Services: coffee.ServiceConfig{BrewTime: 9 * time.Second, BrewFailureRate: 1}})
	s.WantCompleted(ctx, "cancelled", 525)
	s.WantCompleted(ctx, "let", 525)
	s.Await(ctx, "let", func(desk.OrderView) bool {
		views, err := s.Orders.List(ctx, desk.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]coffee.OrderStatus{}
		for _, view := range views {
			got[view.OrderID] = view.Status
		}
		return len(views) == len(ids) && maps.Equal(got, map[string]coffee.OrderStatus{
			"untouched": coffee.StatusCompleted, "cancelled": coffee.StatusCompleted, "terminated": coffee.StatusFailed, "let": coffee.StatusCompleted})
	})
	// The first run of each order has completed. With a limit of 3 the one that does not
	// count is among the first three, and another order comes in its stead.
	for limit, want := range map[int]int{0: 3, 1: 1, 3: 3} {
		completed, err := s.Orders.List(ctx, desk.ListOptions{Status: coffee.StatusCompleted, Limit: limit})
		if err != nil || len(completed) != want {
			t.Errorf("of %d orders that completed the list has %+v, %v", want, completed, err)
		}
		for _, view := range completed {
			if view.OrderID == "terminated" {
				t.Errorf("the list has the earlier run of an order that was stopped: %+v", view)
			}
		}
	}
	if two, err := s.Orders.List(ctx, desk.ListOptions{Limit: 2}); err != nil || len(two) != 2 || two[0].OrderID == two[1].OrderID {
		t.Errorf("of two orders the list has %+v, %v", two, err)
	}
	report := s.Audit(ctx, s.Book, audit.Options{Repair: s.Ledger})
	if len(report.Breaches) != 0 || len(report.Repairs) != 0 || report.Ledger.NetCents != 4*525 || report.Orders.Stopped != 1 {
		t.Errorf("got %+v", report)
	}
}

// TestWaitingThroughAReset: a client waits for an order that is reset meanwhile. It
// gets the result of the new run.
func TestWaitingThroughAReset(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	stop := s.startWorkerWith(coffee.WorkerOptions{Services: coffee.ServiceConfig{BrewTime: 9 * time.Second}})
	s.Place(ctx, "123")
	type answer struct {
		result coffee.OrderResult
		err    error
	}
	waiting := make(chan answer, 1)
	go func() {
		result, err := s.Orders.Result(ctx, "123")
		waiting <- answer{result, err}
	}()
	s.Await(ctx, "123", func(view desk.OrderView) bool { return view.Stage == coffee.StageBrewing })
	stop()
	for range 2 {
		if err := s.resetTo(ctx, "123", firstTask, true); err != nil {
			t.Fatal(err)
		}
	}
	s.startWorker()
	s.WantCompleted(ctx, "123", 525)
	if got := <-waiting; got.err != nil || got.result.Status != coffee.StatusCompleted {
		t.Errorf("got %+v, %v", got.result, got.err)
	}
	// An order that is terminated and not reset has no result.
	stop = s.startWorkerWith(coffee.WorkerOptions{Services: coffee.ServiceConfig{BrewTime: 9 * time.Second}})
	defer stop()
	s.Place(ctx, "124")
	if err := s.conn.TerminateWorkflow(ctx, coffee.WorkflowID("124"), "", "test"); err != nil {
		t.Fatal(err)
	}
	var ended *coffee.EndedError
	if _, err := s.Orders.Result(ctx, "124"); !errors.As(err, &ended) || ended.Problem != "it was terminated" {
		t.Errorf("got %v", err)
	}
}

// TestResets resets orders of every recorded outcome to every event that an order
// can be reset to, with and without their signals, and then cancels half of them. Their
// drink has left the menu, and each decision comes upon a higher price. No customer gets
// a coffee for free, pays for none, pays twice, or another price. Result, status and
// audit agree. In its short form each event is for one of the four ways to reset to it.
func TestResets(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	defer cancel()
	s := newStage(newShop(t))
	s.pricing = &risingPricing{}
	defer s.startWorker()()

	// First runs. Each order is for one of the places to reset to, or for some of them, from
	// anywhere on. Those left over are not reset.
	ways := times(4, 1)    // of the four to reset to an event
	orders := times(64, 5) // of each outcome; 64 are more than the places
	ids, first := map[string][]string{}, map[string]coffee.OrderResult{}
	var mu sync.Mutex
	var runs errgroup.Group
	runs.SetLimit(ordersAtOnce)
	for name, story := range stories() {
		if story.resetTo != 0 {
			continue
		}
		for n := range orders {
			id := fmt.Sprintf("%s-%d", name, n)
			ids[name] = append(ids[name], id)
			story.drink = cmp.Or(story.drink, unicornLatte)
			s.begin(ctx, id, story)
			runs.Go(func() error {
				result, _ := s.ended(ctx, id)
				mu.Lock()
				first[id] = result
				mu.Unlock()
				return nil
			})
		}
	}
	if err := runs.Wait(); err != nil {
		t.Fatal(err)
	}

	resets := 0
	for name, left := range ids {
		places := 0
		start, events := rand.IntN(1<<20), len(s.history(ctx, left[0]).GetEvents())
		for way := range ways {
			for i := range events {
				if len(left) == 1 {
					break
				}
				event := (start + i) % events
				id, to := left[0], int64(event+1)
				keep, cancelled := (start+way+event)&1 == 0, (start+way+event)&2 == 0
				err := s.resetTo(ctx, id, to, keep)
				var invalid *serviceerror.InvalidArgument
				if errors.As(err, &invalid) {
					continue // not an event to reset to
				}
				if err != nil {
					t.Fatalf("order %s, event %d: %v", id, to, err)
				}
				if cancelled {
					if err := s.Orders.Cancel(ctx, id, ""); err != nil && !errors.Is(err, coffee.ErrEnded) {
						t.Fatal(err)
					}
				}
				places, left = places+1, left[1:]
				runs.Go(func() error {
					s.checkReset(ctx, id, first[id], fmt.Sprintf("reset to event %d, signals kept %v, cancelled %v", to, keep, cancelled))
					return nil
				})
			}
		}
		if places == 0 {
			t.Errorf("%s was never reset", name)
		}
		resets += places
	}
	t.Logf("%d resets", resets)
	if err := runs.Wait(); err != nil {
		t.Fatal(err)
	}
	if duplicates := s.auditResets(ctx); duplicates != orders {
		t.Errorf("%d earlier orders were found, not %d", duplicates, orders)
	}
}

// ordersAtOnce is how many orders a test has under way, so that none meets its deadlines on
// a machine that is busy with something else.
const ordersAtOnce = 100

// checkReset waits until an order that was reset has ended again, and checks what came of
// it: the customer has paid for a coffee that was handed out, and for nothing else, and
// result, status and ledger agree.
func (s *stage) checkReset(ctx context.Context, id string, first coffee.OrderResult, said string) {
	result, err := s.ended(ctx, id)
	said = fmt.Sprintf("%s: first %+v, then %+v, %v", said, first, result, err)
	net := s.net(ctx, id)
	view, lookErr := s.Orders.Describe(ctx, id)
	if lookErr != nil {
		s.T.Error(lookErr)
		return
	}
	if err != nil { // an invalid order
		if first.Status != "" || net != 0 {
			s.T.Errorf("%s: the net is %s", said, net)
		}
		return
	}
	if view.Status != result.Status || view.Refunded != result.Refunded || view.Charged != result.Charged || view.AmountCents != result.AmountCents || view.Cancelled != (result.Status == coffee.StatusCancelled) {
		s.T.Errorf("%s: but status says %+v", said, view)
	}
	s.mu.Lock()
	order, receipt := s.orders[coffee.WorkflowID(id)], s.receipt[coffee.WorkflowID(id)]
	s.mu.Unlock()
	if first.Status == coffee.StatusCompleted && result.Status != coffee.StatusCompleted {
		s.T.Errorf("%s: the coffee of the first run is forgotten", said)
	}
	if result.AmountCents != first.AmountCents {
		s.T.Errorf("%s: the price has changed", said)
	}
	if order.duplicate {
		if net != 525 || result.Status == coffee.StatusCompleted { // what the earlier order has paid
			s.T.Errorf("%s: the net is %s", said, net)
		}
		return
	}
	want := coffee.Cents(0)
	if result.Status == coffee.StatusCompleted {
		want = first.AmountCents
	}
	if net != want || receipt && want == 0 {
		s.T.Errorf("%s: the net is %s; receipt %v", said, net, receipt)
	}
	if charged := s.Kinds(ctx, id); result.Charged != (charged != "[]" && charged != "[void]") || result.Refunded != (charged == "[charge refund]") {
		s.T.Errorf("%s: the ledger has %s", said, charged)
	}
}

// auditResets audits all orders, and returns how many earlier orders it found, which have
// no history.
func (s *stage) auditResets(ctx context.Context) (duplicates int) {
	for _, breach := range s.Audit(ctx, s.Book, audit.Options{}).Breaches {
		if s.orders[coffee.WorkflowID(breach.OrderID)].duplicate && breach.Rule == audit.RuleOwner {
			duplicates++
			continue
		}
		s.T.Errorf("breach of rule %d by order %s: %s\n%s", breach.Rule, breach.OrderID, breach.Problem, strings.Join(breach.Evidence, "\n"))
	}
	return duplicates
}

// risingPricing charges a cent more each time that it computes a price.
type risingPricing struct{ asked atomic.Int64 }

func (*risingPricing) Name() string { return "rising" }

func (p *risingPricing) Price(coffee.OrderRequest, time.Time) coffee.Cents {
	return coffee.Cents(1000 + p.asked.Add(1))
}

// TestResetUnderAnotherMenu: what an order was accepted as stays, in whichever run that
// was, although the drink has left the menu and the price list is another one. Only an
// order that was never accepted is a new one.
func TestResetUnderAnotherMenu(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	s := newShop(t)
	place := func(drink coffee.Drink, ids ...string) {
		for _, id := range ids {
			if _, err := s.conn.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: coffee.WorkflowID(id), TaskQueue: coffee.TaskQueue},
				coffee.WorkflowType, coffee.OrderRequest{OrderID: id, Drink: drink, Size: coffee.SizeM}); err != nil {
				t.Fatal(err)
			}
		}
	}
	reset := func(event int64, ids ...string) {
		for _, id := range ids {
			if err := s.resetTo(ctx, id, event, false); err != nil {
				t.Fatalf("order %s: %v", id, err)
			}
		}
	}
	work := func(services coffee.ServiceConfig) (stop func()) {
		return s.startWorkerWith(coffee.WorkerOptions{Services: services, Register: func(r worker.Registry) {
			old := withUnicorns(&coffee.OrderWorkflow{Pricing: flatPricing(400)}, func(*workflow.Info) bool { return true })
			r.RegisterWorkflowWithOptions(old, workflow.RegisterOptions{Name: coffee.WorkflowType})
		}})
	}
	stage := func(id string, stage coffee.Stage) {
		s.Await(ctx, id, func(view desk.OrderView) bool { return view.Stage == stage })
	}

	// An order that is stopped before it is accepted.
	stop := s.startWorkerWith(coffee.WorkerOptions{Register: func(r worker.Registry) {
		r.RegisterWorkflowWithOptions(func(workflow.Context, converter.RawValue) (coffee.OrderResult, error) { panic("not yet") },
			workflow.RegisterOptions{Name: coffee.WorkflowType})
	}})
	place(unicornLatte, "stopped")
	s.Await(ctx, "stopped", func(view desk.OrderView) bool { return view.WorkflowTaskFailure != "" })
	stop()
	if err := s.conn.TerminateWorkflow(ctx, coffee.WorkflowID("stopped"), "", "test"); err != nil {
		t.Fatal(err)
	}
	stop = work(coffee.ServiceConfig{})
	place(unicornLatte, "completed")
	place("tea", "invalid")
	s.WantCompleted(ctx, "completed", 400)
	if _, err := s.ended(ctx, "invalid"); err == nil {
		t.Error("there is tea")
	}
	stop()
	stop = work(coffee.ServiceConfig{BrewTime: 9 * time.Second})
	place(unicornLatte, "brewing", "cancelled")
	stage("brewing", coffee.StageBrewing)
	stage("cancelled", coffee.StageBrewing)
	s.cancelled(ctx, "cancelled")
	stop()
	stop = work(coffee.ServiceConfig{ChargeTime: 9 * time.Second})
	place(unicornLatte, "charging")
	stage("charging", coffee.StageCharging)
	stop()

	reset(firstTask, "stopped")
	stop = work(coffee.ServiceConfig{ChargeTime: 9 * time.Second})
	stage("stopped", coffee.StageCharging) // its second run is the first that was accepted
	stop()
	events := s.history(ctx, "stopped").GetEvents()
	accepted := slices.IndexFunc(events, func(event *historypb.HistoryEvent) bool {
		return event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
	})
	reset(events[accepted].GetEventId(), "stopped")
	reset(firstTask, "completed", "invalid", "brewing", "cancelled", "charging")
	reset(firstTask, "brewing") // its second run, too
	s.startWorkerWith(coffee.WorkerOptions{Pricing: flatPricing(999)})
	for _, id := range []string{"completed", "brewing", "charging", "stopped"} {
		s.WantCompleted(ctx, id, 400)
	}
	if result, err := s.ended(ctx, "cancelled"); err != nil || result.Status != coffee.StatusFailed || result.AmountCents != 400 || !result.Refunded {
		t.Errorf("cancelled: got %+v, %v", result, err)
	}
	if _, err := s.ended(ctx, "invalid"); err == nil || s.Kinds(ctx, "invalid") != "[void]" {
		t.Errorf("invalid: %v, %s", err, s.Kinds(ctx, "invalid"))
	}
	s.WantNoBreach(ctx)
}

// TestRandomResets resets orders of random outcomes to random events, with their signals
// or without, up to three times in a row, and cancels some. It makes 20 resets with a
// ledger in SQLite and 20 with one in PostgreSQL, or as many as COFFEE_TEST_RESETS says.
func TestRandomResets(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		resetAtRandom(t, ledgerFile(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		resetAtRandom(t, ledgertest.PostgresURL(t))
	})
}

func resetAtRandom(t *testing.T, book string) {
	t.Helper()
	wanted := 20
	if text := os.Getenv("COFFEE_TEST_RESETS"); text != "" {
		var err error
		if wanted, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience+time.Duration(wanted)*time.Second)
	defer cancel()
	s := newStage(openShop(t, false, book))
	s.pricing = &risingPricing{}
	defer s.startWorker()()

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	all := stories()
	names := slices.Sorted(maps.Keys(all))
	names = slices.DeleteFunc(names, func(name string) bool { return all[name].resetTo != 0 || all[name].skipTime })
	var group errgroup.Group
	group.SetLimit(ordersAtOnce)
	resets, duplicates := 0, 0
	for n := 0; resets < wanted && ctx.Err() == nil; n++ {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		story := all[names[r.IntN(len(names))]]
		id := fmt.Sprint("random-", n)
		story.drink = cmp.Or(story.drink, unicornLatte)
		s.begin(ctx, id, story)
		if story.duplicate {
			duplicates++
		}
		times := 1 + r.IntN(3)
		resets += times
		group.Go(func() error {
			first, _ := s.ended(ctx, id)
			said := fmt.Sprintf("seed %d, order %d", seed, n)
			for range times {
				event, keep := s.resetAnywhere(ctx, r, id)
				cancelled := r.IntN(3) == 0
				if cancelled {
					if err := s.Orders.Cancel(ctx, id, ""); err != nil && !errors.Is(err, coffee.ErrEnded) {
						return err
					}
				}
				said += fmt.Sprintf(", event %d, signals kept %v, cancelled %v", event, keep, cancelled)
				if r.IntN(2) == 0 { // otherwise the next reset comes while it runs
					result, _ := s.ended(ctx, id)
					if result.Status == coffee.StatusCompleted {
						first = result
					}
				}
			}
			s.checkReset(ctx, id, first, said)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d resets", resets)
	if found := s.auditResets(ctx); found != duplicates {
		t.Errorf("%d earlier orders were found, not %d", found, duplicates)
	}
}

// resetAnywhere resets an order to a random one of the events that it can be reset to.
func (s *stage) resetAnywhere(ctx context.Context, r *rand.Rand, id string) (event int64, keep bool) {
	keep = r.IntN(2) == 0
	for {
		event = 1 + r.Int64N(int64(len(s.history(ctx, id).GetEvents())))
		err := s.resetTo(ctx, id, event, keep)
		var invalid *serviceerror.InvalidArgument
		if !errors.As(err, &invalid) { // otherwise it is not an event to reset to
			if err != nil {
				s.T.Errorf("order %s, event %d: %v", id, event, err)
			}
			return event, keep
		}
	}
}
