package commands

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"math/rand/v2"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/ledger/ledgertest"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/sleep"
)

// gate is a ledger whose first charge blocks and ignores its context, like a
// frozen process or a request that is delayed on its way.
type gate struct {
	ledger.Store
	once     sync.Once
	reached  chan struct{} // closed when the first charge is there
	open     chan struct{} // close it to let the charge through
	returned chan error    // has the charge's error
}

func newGate(ledger ledger.Store) *gate {
	return &gate{Store: ledger, reached: make(chan struct{}), open: make(chan struct{}), returned: make(chan error, 1)}
}

func (g *gate) Charge(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
	first := false
	g.once.Do(func() { first = true })
	if !first {
		return g.Store.Charge(ctx, charge)
	}
	close(g.reached)
	<-g.open
	entry, err := g.Store.Charge(context.WithoutCancel(ctx), charge)
	g.returned <- err
	return entry, err
}

// wait returns when the first charge has reached the gate.
func (g *gate) wait(ctx context.Context, t *testing.T) {
	t.Helper()
	select {
	case <-g.reached:
	case <-ctx.Done():
		t.Fatal("nobody came to charge")
	}
}

// release lets the charge through, and returns its error.
func (g *gate) release(ctx context.Context) error {
	close(g.open)
	select {
	case err := <-g.returned:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestCancelWhileTheChargeIsUnderWay: the cancel does not wait for the charge, which
// is refused when it finally comes.
func TestCancelWhileTheChargeIsUnderWay(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	g := newGate(s.Ledger)
	s.startWorkerWith(coffee.WorkerOptions{Ledger: g})
	s.Place(ctx, "123")
	g.wait(ctx, t)
	if err := s.Orders.Cancel(ctx, "123", ""); err != nil {
		t.Fatal(err)
	}
	result, err := s.Orders.Result(ctx, "123")
	if err != nil || result.Status != coffee.StatusCancelled || result.Charged {
		t.Errorf("got %+v, %v", result, err)
	}
	if err := g.release(ctx); !errors.Is(err, coffee.ErrSettled) {
		t.Errorf("the late charge: %v", err)
	}
	if got := s.Kinds(ctx, "123"); got != "[void]" {
		t.Errorf("the ledger has %s", got)
	}
	s.WantNoBreach(ctx)
}

// TestZombieCharge: an attempt is given up, the next one charges, and the order is
// cancelled and refunded. Then the first attempt wakes up and charges.
func TestZombieCharge(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	g := newGate(s.Ledger)
	s.startWorkerWith(coffee.WorkerOptions{Ledger: g, Services: coffee.ServiceConfig{BrewTime: 9 * time.Second}})
	s.Place(ctx, "123")
	g.wait(ctx, t)
	s.Await(ctx, "123", func(view desk.OrderView) bool { return view.Stage == coffee.StageBrewing })
	if err := s.Orders.Cancel(ctx, "123", ""); err != nil {
		t.Fatal(err)
	}
	result, err := s.Orders.Result(ctx, "123")
	if err != nil || result.Status != coffee.StatusCancelled || !result.Refunded {
		t.Errorf("got %+v, %v", result, err)
	}
	if err := g.release(ctx); !errors.Is(err, coffee.ErrSettled) {
		t.Errorf("the zombie's charge: %v", err)
	}
	if got := s.Kinds(ctx, "123"); got != "[charge refund]" {
		t.Errorf("the ledger has %s", got)
	}
	s.WantNoBreach(ctx)
}

// TestCancelAgainstCompletion cancels orders that are about to complete. One of the
// two wins, and coffee cancel says which.
func TestCancelAgainstCompletion(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	s := newShop(t)
	s.startWorker()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var mu sync.Mutex
	won := map[coffee.OrderStatus]int{}
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4)
	for range times(80, 30) {
		id, delay := coffee.NewOrderID(), time.Duration(r.Int64N(int64(200*time.Millisecond)))
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			// Not s.Place: t.Fatal is for the test's own goroutine.
			if _, err := s.Orders.Place(ctx, coffee.OrderRequest{OrderID: id, Drink: "latte", Size: coffee.SizeM}); err != nil {
				t.Error(err)
				return
			}
			sleep.For(ctx, delay)
			out := &terminal.Output{Out: &terminal.CheckedWriter{W: io.Discard}, Err: io.Discard}
			err := cancelOrder(ctx, out, s.Orders, cancelPlan{id: id, asJSON: true})
			result, resultErr := s.Orders.Result(ctx, id)
			if resultErr != nil {
				t.Error(resultErr)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			won[result.Status]++
			var tooLate *exit.Error
			switch result.Status {
			case coffee.StatusCancelled:
				if err != nil {
					t.Errorf("order %s was cancelled, and coffee cancel said: %v", id, err)
				}
			case coffee.StatusCompleted:
				if !errors.As(err, &tooLate) || tooLate.Code != exit.Failure {
					t.Errorf("order %s was completed, and coffee cancel said: %v", id, err)
				}
			default:
				t.Errorf("order %s ended %s", id, result.Status)
			}
		})
	}
	wg.Wait()
	t.Log(won)
	s.WantNoBreach(ctx)
}

// TestOrderIDComesBack: the history is gone, as it is after its retention, and a
// client places an order with the same id again.
func TestOrderIDComesBack(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	s := newShop(t)
	s.startWorker()
	s.Place(ctx, "123")
	s.WantCompleted(ctx, "123", 525)
	_, err := s.conn.WorkflowService().DeleteWorkflowExecution(ctx, &workflowservice.DeleteWorkflowExecutionRequest{
		Namespace:         s.conn.Namespace,
		WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: coffee.WorkflowID("123")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := s.Orders.Describe(ctx, "123"); errors.Is(err, coffee.ErrNotFound) {
			break
		}
		if !sleep.For(ctx, 500*time.Millisecond) {
			t.Fatal("the history is still there")
		}
	}
	s.Place(ctx, "123")
	result, err := s.Orders.Result(ctx, "123")
	want := coffee.OrderResult{OrderID: "123", Status: coffee.StatusFailed, AmountCents: 525, Failure: "an earlier order of the same id was charged already"}
	if err != nil || result != want {
		t.Errorf("got %+v, %v; want %+v", result, err, want)
	}
	if got := s.Kinds(ctx, "123"); got != "[charge]" {
		t.Errorf("the ledger has %s", got)
	}
	// The auditor knows that the retention has not ended yet: it was deleted.
	breaches := s.Audit(ctx, s.Book, audit.Options{}).Breaches
	if len(breaches) != 1 || breaches[0].Rule != audit.RuleOwner {
		t.Errorf("got %+v", breaches)
	}
}

// TestLedgerIsBusy: another program holds the ledger's lock for longer than an
// attempt to charge waits. The order waits, too, and is not declined.
func TestLedgerIsBusy(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	s.startWorker()
	db, err := sql.Open("sqlite", "file:"+s.Book+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	s.Place(ctx, "123")
	s.Await(ctx, "123", func(view desk.OrderView) bool { return view.LastFailure != "" })
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	s.WantCompleted(ctx, "123", 525)
	s.WantNoBreach(ctx)
}

// TestPostgresLedgerOnTwoMachines: as on two machines, two workers share nothing but
// the server and a ledger in PostgreSQL. One is killed.
func TestPostgresLedgerOnTwoMachines(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	where := ledgertest.PostgresURL(t)
	s := newShop(t)
	var err error
	if s.Ledger, err = ledger.Open(ctx, where); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Ledger.Close() })
	s.Book = where
	var workers []*exec.Cmd
	for range 2 {
		w := coffeeCommand(t, "worker", "--address", s.conn.At.Address, "-n", s.conn.Namespace, "--charge-time", "50ms", "--brew-time", "1s", "--receipt-time", "10ms")
		w.Env = append(w.Env, commandline.LedgerVariable+"="+where)
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			w.Process.Kill()
			w.Wait()
		})
		workers = append(workers, w)
	}
	var ids []string
	for i := range 20 {
		ids = append(ids, coffee.NewOrderID())
		s.Place(ctx, ids[i])
		if i%4 != 0 {
			continue
		}
		s.Await(ctx, ids[i], func(view desk.OrderView) bool { return view.Charged })
		if err := s.Orders.Cancel(ctx, ids[i], ""); err != nil && !errors.Is(err, coffee.ErrEnded) {
			t.Error(err)
		}
		if i == 8 {
			workers[0].Process.Kill()
		}
	}
	for _, id := range ids {
		if _, err := s.Orders.Result(ctx, id); err != nil {
			t.Error(err)
		}
	}
	report := s.Audit(ctx, where, audit.Options{Acknowledged: ids})
	if len(report.Breaches) != 0 || report.Orders.Total() != len(ids) || report.Ledger.Charges == 0 || report.Ledger.Refunds == 0 {
		t.Errorf("got %+v", report)
	}
}

// TestStoppedFromOutside: the auditor finds orders that were terminated or timed out
// after their charge, and settles them if it may.
func TestStoppedFromOutside(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	s.startWorkerWith(coffee.WorkerOptions{Services: coffee.ServiceConfig{BrewTime: 9 * time.Second}})
	s.Place(ctx, "terminated")
	_, err := s.conn.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: coffee.WorkflowID("timed-out"), TaskQueue: coffee.TaskQueue, WorkflowExecutionTimeout: 8 * time.Second, // less than the brew
	}, coffee.WorkflowType, coffee.OrderRequest{OrderID: "timed-out", Drink: "latte", Size: coffee.SizeM})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"terminated", "timed-out"} {
		s.Await(ctx, id, func(view desk.OrderView) bool { return view.Stage == coffee.StageBrewing })
	}
	if err := s.conn.TerminateWorkflow(ctx, coffee.WorkflowID("terminated"), "", "test"); err != nil {
		t.Fatal(err)
	}
	s.Await(ctx, "timed-out", func(view desk.OrderView) bool { return !view.EndedAt.IsZero() })

	report := s.Audit(ctx, s.Book, audit.Options{})
	broken := map[string]audit.Rule{}
	for _, breach := range report.Breaches {
		broken[breach.OrderID] = breach.Rule
	}
	if len(report.Breaches) != 2 || broken["terminated"] != audit.RuleNet || broken["timed-out"] != audit.RuleNet || report.Orders.Stopped != 2 {
		t.Errorf("got %+v", report)
	}
	if len(report.Repairs) != 0 || s.Kinds(ctx, "terminated") != "[charge]" {
		t.Errorf("an audit without --repair changed something: %+v", report.Repairs)
	}
	report = s.Audit(ctx, s.Book, audit.Options{Repair: s.Ledger})
	if len(report.Breaches) != 0 || len(report.Repairs) != 2 || report.Ledger.Refunds != 2 || report.Ledger.NetCents != 0 {
		t.Errorf("got %+v", report)
	}
	for _, id := range []string{"terminated", "timed-out"} {
		if got := s.Kinds(ctx, id); got != "[charge refund]" {
			t.Errorf("the ledger has %s of order %s", got, id)
		}
	}
	if report = s.Audit(ctx, s.Book, audit.Options{Repair: s.Ledger}); len(report.Repairs) != 0 || len(report.Breaches) != 0 {
		t.Errorf("once more: %+v", report)
	}
}

// TestStoppedBeforeALateCharge: an order is terminated while its charge is on
// the way. The repair makes sure that the charge is refused.
func TestStoppedBeforeALateCharge(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	g := newGate(s.Ledger)
	s.startWorkerWith(coffee.WorkerOptions{Ledger: g})
	s.Place(ctx, "123")
	g.wait(ctx, t)
	if err := s.conn.TerminateWorkflow(ctx, coffee.WorkflowID("123"), "", "test"); err != nil {
		t.Fatal(err)
	}
	report := s.Audit(ctx, s.Book, audit.Options{Repair: s.Ledger})
	if len(report.Breaches) != 0 || len(report.Repairs) != 1 {
		t.Errorf("got %+v", report)
	}
	if err := g.release(ctx); !errors.Is(err, coffee.ErrSettled) {
		t.Errorf("the late charge: %v", err)
	}
	if got := s.Kinds(ctx, "123"); got != "[void]" {
		t.Errorf("the ledger has %s", got)
	}
	s.WantNoBreach(ctx)
}

// refundGate is a ledger whose first refund blocks.
type refundGate struct {
	*gate
}

func (g *refundGate) Charge(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
	return g.Store.Charge(ctx, charge)
}

func (g *refundGate) Refund(ctx context.Context, orderID, runID string) (coffee.Entry, error) {
	first := false
	g.once.Do(func() { first = true })
	if !first {
		return g.Store.Refund(ctx, orderID, runID)
	}
	close(g.reached)
	<-g.open
	entry, err := g.Store.Refund(context.WithoutCancel(ctx), orderID, runID)
	g.returned <- err
	return entry, err
}

// TestZombieRefund: an order is cancelled, and the attempt to refund it freezes. An
// operator resets the order to before the cancel, and it completes. Then the refund
// wakes up too late: the coffee was handed out.
func TestZombieRefund(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	g := &refundGate{newGate(s.Ledger)}
	stop := s.startWorkerWith(coffee.WorkerOptions{Ledger: g, Services: coffee.ServiceConfig{BrewTime: 9 * time.Second}})
	s.Place(ctx, "123")
	s.Await(ctx, "123", func(view desk.OrderView) bool { return view.Stage == coffee.StageBrewing })
	if err := s.Orders.Cancel(ctx, "123", ""); err != nil {
		t.Fatal(err)
	}
	g.wait(ctx, t)
	go stop() // it cannot stop the refund
	if err := s.resetTo(ctx, "123", chargedTask, false); err != nil {
		t.Fatal(err)
	}
	s.startWorker()
	s.WantCompleted(ctx, "123", 525)
	if err := g.release(ctx); !errors.Is(err, coffee.ErrDelivered) {
		t.Errorf("the zombie's refund: %v", err)
	}
	if got := s.Kinds(ctx, "123"); got != "[charge]" {
		t.Errorf("the ledger has %s", got)
	}
	s.WantNoBreach(ctx)
}

// frozenBrew is a ledger that blocks a worker at its second look at a payment,
// which comes when the coffee has been brewed.
type frozenBrew struct {
	*gate
	looks atomic.Int32
}

func (f *frozenBrew) Charge(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
	return f.Store.Charge(ctx, charge)
}

func (f *frozenBrew) Paid(ctx context.Context, orderID string) (bool, error) {
	if f.looks.Add(1) != 2 {
		return f.Store.Paid(ctx, orderID)
	}
	close(f.reached)
	<-f.open
	delivered, err := f.Store.Paid(context.WithoutCancel(ctx), orderID)
	f.returned <- err
	return delivered, err
}

// TestFrozenBrew: a brew freezes when the coffee is ready, and the order is
// cancelled and refunded meanwhile. The coffee is not handed out.
func TestFrozenBrew(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	f := &frozenBrew{gate: newGate(s.Ledger)}
	s.startWorkerWith(coffee.WorkerOptions{Ledger: f})
	s.Place(ctx, "123")
	f.wait(ctx, t)
	if err := s.Orders.Cancel(ctx, "123", ""); err != nil {
		t.Fatal(err)
	}
	result, err := s.Orders.Result(ctx, "123")
	if err != nil || result.Status != coffee.StatusCancelled || !result.Refunded {
		t.Errorf("got %+v, %v", result, err)
	}
	if err := f.release(ctx); !errors.Is(err, coffee.ErrSettled) {
		t.Errorf("the brew that woke up: %v", err)
	}
	s.WantNoBreach(ctx)
}
