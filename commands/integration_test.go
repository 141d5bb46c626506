package commands

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/durationpb"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/rollout"
	"example.com/coffee/coffee/shoptest"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/child"
	"example.com/coffee/internal/sleep"
)

// shop is a shop on a server in this process, with a worker if the test starts one.
type shop struct {
	*shoptest.Shop
	conn *connect.Connection
}

// atConnection returns a shop with a connection of the program's.
func atConnection(t *testing.T, conn *connect.Connection, ledger ledger.Store, book string, log zerolog.Logger) *shop {
	return &shop{&shoptest.Shop{T: t, Conn: conn.Client, Namespace: conn.Namespace, Orders: conn.Orders(), Ledger: ledger, Book: book, Log: log}, conn}
}

func newShop(t *testing.T) *shop { t.Helper(); return openShop(t, false, ledgerFile(t)) }

// ledgerFile is where the ledger of a test is.
func ledgerFile(t *testing.T) string { t.Helper(); return filepath.Join(t.TempDir(), "ledger.db") }

// openShop opens a shop that skips the time of its orders if skipTime is true. Its
// ledger is the file or the database in PostgreSQL that book names.
func openShop(t *testing.T, skipTime bool, book string) *shop {
	t.Helper()
	ctx := context.Background()
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	options := testServer(t, skipTime, log)
	conn, err := connect.Open(ctx, &app.App{Log: log, Platform: log}, connect.Options{Options: options, SkipTime: skipTime})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	ledger, err := ledger.Open(ctx, book)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ledger.Close() })
	return atConnection(t, conn, ledger, book, log)
}

// shopAt is a shop at a server and with a ledger of other processes.
func shopAt(t *testing.T, address string) *shop {
	t.Helper()
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	options := client.Options{HostPort: address, Namespace: client.DefaultNamespace}
	conn, err := connect.Open(t.Context(), &app.App{Log: log, Platform: log}, connect.Options{Options: options})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return atConnection(t, conn, nil, "", log)
}

// clusterVariable names the environment variable with the addresses of a cluster that
// tests may create namespaces on. .ci/cluster starts one.
const clusterVariable = "COFFEE_TEST_CLUSTER"

// fullVariable names the environment variable that makes tests full. .ci/run sets it, for
// those tests alone that call times or rarely.
const fullVariable = "COFFEE_TEST_FULL"

// rarely leaves a test, or a case of one, to the full tests: it takes long, and what it shows
// is seldom in danger.
func rarely(t *testing.T) {
	t.Helper()
	if os.Getenv(fullVariable) == "" {
		t.Skip("it takes long, and runs with " + fullVariable + "=1")
	}
}

// times returns how often a test does something: all times if the tests are to be full.
func times(all, some int) int {
	if os.Getenv(fullVariable) != "" {
		return all
	}
	return some
}

// testServer starts a server for a test. If there is a cluster, it returns a namespace
// of the test's own there instead; only ours can skip time.
func testServer(t *testing.T, skipTime bool, log zerolog.Logger) client.Options {
	t.Helper()
	ctx := context.Background()
	if addresses := os.Getenv(clusterVariable); addresses != "" && !skipTime {
		return client.Options{HostPort: addresses, Namespace: newNamespace(ctx, t, strings.Split(addresses, ","))}
	}
	server, err := devserver.Start(ctx, devserver.Options{TimeSkipping: skipTime, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return client.Options{HostPort: server.Address(), Namespace: client.DefaultNamespace}
}

// newNamespace creates a namespace, and waits until all frontends know it.
func newNamespace(ctx context.Context, t *testing.T, frontends []string) string {
	t.Helper()
	name := "test-" + strings.ToLower(rand.Text())
	for i, address := range frontends {
		c, err := client.DialContext(ctx, client.Options{HostPort: address, Namespace: name})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i == 0 {
			_, err := c.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
				Namespace: name, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for deadline := time.Now().Add(patience); ; {
			_, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: name})
			if err == nil {
				break
			}
			if time.Now().After(deadline) || !sleep.For(ctx, 50*time.Millisecond) {
				t.Fatal(err)
			}
		}
	}
	return name
}

// startWorker starts a worker whose services take no time and never fail.
func (s *shop) startWorker() {
	s.T.Helper()
	s.startWorkerWith(coffee.WorkerOptions{})
}

// startWorkerWith starts a worker as [shoptest.Shop.Work] does. The test's cleanup calls stop
// if the test has not.
func (s *shop) startWorkerWith(options coffee.WorkerOptions) (stop func()) {
	s.T.Helper()
	stop = s.Work(context.Background(), s.Conn, options)
	s.T.Cleanup(stop)
	return stop
}

// history returns the whole history of an order.
func (s *shop) history(ctx context.Context, id string) *historypb.History {
	s.T.Helper()
	history := &historypb.History{}
	events := s.conn.GetWorkflowHistory(ctx, coffee.WorkflowID(id), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			s.T.Fatal(err)
		}
		history.Events = append(history.Events, event)
	}
	return history
}

// coffeeCommand returns a command of the program, as a process of its own.
func coffeeCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable)
	cmd.Args = append([]string{"coffee"}, args...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	env, err := child.Environment(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = env
	return cmd
}

// flatPricing charges the same price for everything.
type flatPricing coffee.Cents

func (flatPricing) Name() string                                        { return "flat" }
func (p flatPricing) Price(coffee.OrderRequest, time.Time) coffee.Cents { return coffee.Cents(p) }

// TestAnotherPriceList: a worker with other prices takes over in the middle of
// an order, and replays it. The price does not change.
func TestAnotherPriceList(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	stop := s.startWorkerWith(coffee.WorkerOptions{Pricing: flatPricing(100), Services: coffee.ServiceConfig{BrewTime: 9 * time.Second}})
	s.Place(ctx, "123")
	s.Await(ctx, "123", func(view desk.OrderView) bool { return view.Stage == coffee.StageBrewing })
	stop()
	worker.PurgeStickyWorkflowCache() // the workers of a process share it
	s.startWorkerWith(coffee.WorkerOptions{Pricing: flatPricing(999)})
	s.WantCompleted(ctx, "123", 100)
	if balance, err := s.Ledger.Balance(ctx); err != nil || balance.Charges != 1 || balance.Net() != 100 {
		t.Errorf("the ledger has %+v, %v", balance, err)
	}
}

// TestReset: a workflow that is reset to before its charge runs again, under
// another run id, and is not charged again.
func TestReset(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	s.startWorker()
	s.Place(ctx, "123")
	s.WantCompleted(ctx, "123", 525)
	const firstTaskCompleted = 4
	reset, err := s.conn.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace:                 s.conn.Namespace,
		WorkflowExecution:         &commonpb.WorkflowExecution{WorkflowId: coffee.WorkflowID("123")},
		WorkflowTaskFinishEventId: firstTaskCompleted,
		RequestId:                 "reset",
		Reason:                    "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	s.WantCompleted(ctx, "123", 525)
	view, err := s.Orders.Describe(ctx, "123")
	if err != nil || view.RunID != reset.GetRunId() {
		t.Errorf("the run is %s, %v; want %s", view.RunID, err, reset.GetRunId())
	}
	if balance, err := s.Ledger.Balance(ctx); err != nil || balance.Charges != 1 || balance.Net() != 525 {
		t.Errorf("the ledger has %+v, %v", balance, err)
	}
	s.WantNoBreach(ctx)
}

// TestForeignClient speaks to an order as a client in another language does:
// with the names of the contract, plain JSON, and none of our types.
func TestForeignClient(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	start := func(id string) client.WorkflowRun {
		t.Helper()
		run, err := s.conn.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "order-" + id, TaskQueue: "coffee-orders"},
			"OrderCoffeeWorkflow", map[string]any{"order_id": id, "drink": "latte", "size": "M"})
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
	want := func(run client.WorkflowRun, want map[string]any) {
		t.Helper()
		var got map[string]any
		if err := run.Get(ctx, &got); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
	cancelled := start("124")
	if err := s.conn.SignalWorkflow(ctx, "order-124", "", "cancel_order", nil); err != nil {
		t.Fatal(err)
	}
	native := start("125")
	if err := s.conn.CancelWorkflow(ctx, "order-125", ""); err != nil {
		t.Fatal(err)
	}
	s.startWorker()
	run := start("123")
	want(run, map[string]any{"order_id": "123", "status": "COMPLETED", "charged": true, "brewed": true, "receipt_sent": true, "amount_cents": 525})
	want(cancelled, map[string]any{"order_id": "124", "status": "CANCELLED", "charged": false, "brewed": false, "receipt_sent": false, "amount_cents": 525})
	want(native, map[string]any{"order_id": "125", "status": "CANCELLED", "charged": false, "brewed": false, "receipt_sent": false, "amount_cents": 525})
	value, err := s.conn.QueryWorkflow(ctx, "order-123", "", "get_status")
	if err != nil {
		t.Fatal(err)
	}
	var state map[string]any
	if err := value.Get(&state); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"order_id": "123", "cancelled": false, "charged": true, "brewed": true, "receipt_sent": true, "amount_cents": 525} {
		if fmt.Sprint(state[name]) != fmt.Sprint(want) {
			t.Errorf("%s is %v in the state, want %v", name, state[name], want)
		}
	}
}

// TestManyOrdersAtOnce: all orders end, and the ledger balances.
func TestManyOrdersAtOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	defer cancel()
	s := newShop(t)
	s.startWorker()
	orders := times(1000, 60)
	var mu sync.Mutex
	statuses := map[coffee.OrderStatus]int{}
	var all errgroup.Group
	all.SetLimit(50) // so that the server answers each call within its deadline
	for i := range orders {
		all.Go(func() error {
			id := fmt.Sprintf("rush-%d", i)
			if _, err := s.Orders.Place(ctx, coffee.OrderRequest{OrderID: id, Drink: "latte", Size: coffee.SizeM}); err != nil {
				return err
			}
			if i%10 != 0 {
				return nil
			}
			if err := s.Orders.Cancel(ctx, id, ""); !errors.Is(err, coffee.ErrEnded) {
				return err
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range orders {
		all.Go(func() error {
			result, err := s.Orders.Result(ctx, fmt.Sprintf("rush-%d", i))
			mu.Lock()
			defer mu.Unlock()
			statuses[result.Status]++
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	balance, err := s.Ledger.Balance(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v, %+v", statuses, balance)
	completed := statuses[coffee.StatusCompleted]
	if completed+statuses[coffee.StatusCancelled] != orders || completed < orders*9/10 {
		t.Errorf("the orders ended %v", statuses)
	}
	if got, want := balance.Net(), coffee.Cents(525*completed); got != want {
		t.Errorf("the net is %v, want %v", got, want)
	}
	s.WantNoBreach(ctx)
}

// TestFiftyOrdersWithOneID: one order; equal requests join it, others conflict.
func TestFiftyOrdersWithOneID(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	s.startWorker()
	var wg sync.WaitGroup
	var mu sync.Mutex
	placed := map[coffee.Drink]int{}
	conflicts := 0
	for i := range 50 {
		wg.Go(func() {
			drink := []coffee.Drink{"latte", "mocha"}[i%2]
			got, err := s.Orders.Place(ctx, coffee.OrderRequest{OrderID: "123", Drink: drink, Size: coffee.SizeM})
			mu.Lock()
			defer mu.Unlock()
			var conflict *coffee.ConflictError
			switch {
			case errors.As(err, &conflict):
				conflicts++
			case err != nil:
				t.Error(err)
			default:
				placed[got.Order.Drink]++
			}
		})
	}
	wg.Wait()
	if len(placed) != 1 || conflicts != 25 {
		t.Errorf("placed %v, with %d conflicts", placed, conflicts)
	}
	if _, err := s.Orders.Result(ctx, "123"); err != nil {
		t.Fatal(err)
	}
	if balance, err := s.Ledger.Balance(ctx); err != nil || balance.Charges != 1 || balance.Net() != 525 {
		t.Errorf("the ledger has %+v, %v", balance, err)
	}
	s.WantNoBreach(ctx)
}

// TestInvalidOrderFromAForeignClient: it ends at once, and leaves others alone.
func TestInvalidOrderFromAForeignClient(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	s.startWorker()
	for i, input := range []any{nil, "latte", 42, []string{"a"}, map[string]any{"order_id": 1}, strings.Repeat("x", 1_900_000)} {
		run, err := s.conn.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: fmt.Sprintf("order-bad%d", i), TaskQueue: coffee.TaskQueue}, coffee.WorkflowType, input)
		if err != nil {
			t.Fatal(err)
		}
		var result coffee.OrderResult
		if err := run.Get(ctx, &result); err == nil {
			t.Errorf("%.20v: got %+v", input, result)
		}
		id := fmt.Sprintf("bad%d", i)
		var ended *coffee.EndedError
		if _, err := s.Orders.Result(ctx, id); !errors.As(err, &ended) {
			t.Errorf("%.20v: got %v", input, err)
		}
		if view, err := s.Orders.Describe(ctx, id); err != nil || view.Status != coffee.StatusFailed || view.Failure == "" {
			t.Errorf("%.20v: got %+v, %v", input, view, err)
		}
		var conflict *coffee.ConflictError
		if _, err := s.Orders.Place(ctx, coffee.OrderRequest{OrderID: id, Drink: "latte", Size: coffee.SizeM}); !errors.As(err, &conflict) {
			t.Errorf("%.20v: got %v", input, err)
		}
	}
}

// sdk returns the SDK's own client, the only one that its workers take.
func sdk(c *connect.Connection) client.Client {
	return c.Client.(interface{ Unwrap() client.Client }).Unwrap()
}

// versions returns the client for the versions of the workers.
func (s *shop) versions() *rollout.Client { return rollout.New(s.Orders) }

// versioned is the version of a worker.
func versioned(buildID string, behavior workflow.VersioningBehavior) worker.DeploymentOptions {
	return worker.DeploymentOptions{UseVersioning: true, DefaultVersioningBehavior: behavior,
		Version: worker.WorkerDeploymentVersion{DeploymentName: "coffee", BuildID: buildID}}
}
