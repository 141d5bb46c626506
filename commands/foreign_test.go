package commands

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/rollout"
	"example.com/coffee/internal/sleep"
)

// TestOrderWithACronSchedule: Temporal would start such an order again and again,
// whether it fails or completes. It is refused once, and ends.
func TestOrderWithACronSchedule(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	s.startWorker()
	for id, drink := range map[string]string{"good": "latte", "bad": "engine oil"} {
		_, err := s.conn.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: coffee.WorkflowID(id), TaskQueue: coffee.TaskQueue, CronSchedule: "@every 1s"},
			coffee.WorkflowType, map[string]any{"order_id": id, "drink": drink, "size": "M"})
		if err != nil {
			t.Fatal(err)
		}
		want := "cannot have a cron schedule"
		if id == "bad" {
			want = "no such drink"
		}
		var ended *coffee.EndedError
		if _, err := s.Orders.Result(ctx, id); !errors.As(err, &ended) || !strings.Contains(ended.Problem, want) {
			t.Errorf("%s: got %v", id, err)
		}
		if view, err := s.Orders.Describe(ctx, id); err != nil || view.Status != coffee.StatusCancelled || !strings.Contains(view.Failure, want) {
			t.Errorf("%s: got %+v, %v", id, view, err)
		}
		described, err := s.conn.DescribeWorkflowExecution(ctx, coffee.WorkflowID(id), "")
		if err != nil {
			t.Fatal(err)
		}
		// If the schedule went on, its next run would already wait for its time.
		if info := described.GetWorkflowExecutionInfo(); info.GetExecution().GetRunId() != info.GetFirstRunId() || info.GetCloseTime() == nil {
			t.Errorf("%s: there is another run: %v", id, info)
		}
		if got := s.Kinds(ctx, id); got != "[]" {
			t.Errorf("%s: the ledger has %s", id, got)
		}
	}
	s.WantNoBreach(ctx)
}

// TestForeignTexts: texts from other programs are truncated where they come in, so
// that a list or a page stays short.
func TestForeignTexts(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	long := strings.Repeat("latte ", 20_000)
	options := func(id string) client.StartWorkflowOptions {
		return client.StartWorkflowOptions{ID: coffee.WorkflowID(id), TaskQueue: coffee.TaskQueue,
			Memo: map[string]any{"order": map[string]any{"drink": long, "size": long, "pricing": long, "amount_cents": 1}}}
	}
	input := map[string]any{"order_id": long, "drink": long, "size": long}
	for _, id := range []string{"running", "completed", "failed"} {
		if _, err := s.conn.ExecuteWorkflow(ctx, options(id), coffee.WorkflowType, input, id); err != nil {
			t.Fatal(err)
		}
	}
	// A worker that is not ours.
	w := worker.New(sdk(s.conn), coffee.TaskQueue, worker.Options{})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context, _ any, what string) (map[string]any, error) {
		texts := map[string]any{"order_id": long, "status": long, "drink": long, "size": long, "stage": long, "pricing": long, "cancel_reason": long, "failure": long}
		if err := workflow.SetQueryHandler(ctx, coffee.QueryGetStatus, func() (any, error) { return texts, nil }); err != nil {
			return nil, err
		}
		switch what {
		case "running":
			return nil, workflow.Sleep(ctx, time.Hour)
		case "failed":
			return nil, errors.New(long)
		}
		return texts, nil
	}, workflow.RegisterOptions{Name: coffee.WorkflowType})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	const most = 3000 // bytes of JSON
	short := func(what string, v any, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		data, err := json.Marshal(v)
		if err != nil || len(data) > most {
			t.Errorf("%s has %d bytes, %v: %.200s", what, len(data), err, data)
		}
	}
	result, err := s.Orders.Result(ctx, "completed")
	short("the result", result, err)
	_, err = s.Orders.Result(ctx, "failed")
	short("the error", err.Error(), nil)
	state, err := s.Orders.State(ctx, "running")
	short("the state", state, err)
	for _, id := range []string{"running", "completed", "failed"} {
		view, err := s.Orders.Describe(ctx, id)
		short("the view of "+id, view, err)
	}
	s.Await(ctx, "failed", func(view desk.OrderView) bool { return !view.EndedAt.IsZero() })
	for _, brief := range []bool{true, false} {
		views, err := s.Orders.List(ctx, desk.ListOptions{Brief: brief})
		if len(views) != 3 {
			t.Errorf("there are %d orders", len(views))
		}
		for _, view := range views {
			short("the list", view, err)
		}
	}
}

// TestOrdersOfOtherPrograms: orders whose ids this program would not give are listed,
// looked up, cancelled, audited and served like others. A
// workflow that is not called order-… is not taken for the order of its name.
func TestOrdersOfOtherPrograms(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	ids := []string{"café", "a\nb", "tab\t", "\u202egnp.exe", strings.Repeat("x", 900), "same"}
	start := func(workflowID string, order any) {
		if _, err := s.conn.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: workflowID, TaskQueue: coffee.TaskQueue,
			Memo: map[string]any{"order": []int{1}}}, coffee.WorkflowType, order); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		start(coffee.WorkflowID(id), nil)
	}
	start("same", nil)
	s.wantListed(ctx, "WorkflowType = 'OrderCoffeeWorkflow'", len(ids)+1)

	for _, id := range ids {
		if view, err := s.Orders.Describe(ctx, id); err != nil || view.OrderID != id || view.Status != coffee.StatusRunning {
			t.Errorf("%.20q: got %+v, %v", id, view, err)
		}
		if _, err := s.Orders.History(ctx, id); err != nil {
			t.Errorf("%.20q: %v", id, err)
		}
		if err := s.Orders.Cancel(ctx, id, ""); err != nil {
			t.Errorf("%.20q: %v", id, err)
		}
	}
	s.startWorker()
	for _, id := range append(ids, "same") {
		s.Await(ctx, id, func(view desk.OrderView) bool { return view.Status == coffee.StatusFailed })
	}
	views, err := s.Orders.List(ctx, desk.ListOptions{})
	if err != nil || len(views) != len(ids)+1 {
		t.Fatalf("got %d orders, %v", len(views), err)
	}
	table := string(describeOrders(views, false))
	for line := range strings.Lines(table) {
		if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }) || len([]rune(line)) > 160 {
			t.Errorf("got the line %q", line)
		}
	}
	if text := table; !strings.Contains(text, "\nworkflow same ") || !strings.Contains(text, "\nsame ") || !strings.Contains(text, "\ncafé ") {
		t.Errorf("got\n%s", text)
	}
	s.WantNoBreach(ctx)
}

// TestVersionNames: whatever a version is called, the versions are listed, and the orders
// on it are counted if the server can find them.
func TestVersionNames(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	running := map[string]int64{`it's`: 1, `%`: 1, `x' OR 'a' = 'a`: 1, `back2\`: -1, `"quoted"`: -1, `'`: -1}
	for name := range running {
		s.startWorkerWith(coffee.WorkerOptions{Services: coffee.ServiceConfig{ChargeTime: 9 * time.Second, BrewTime: 9 * time.Second, BrewFailureRate: 1}, Version: versioned(name, workflow.VersioningBehaviorPinned)})
	}
	for name := range running {
		s.rollOut(ctx, rolloutPlan{deployment: "coffee", buildID: name, percent: 100, force: true})
		id := "on-" + url.QueryEscape(name)
		id = strings.NewReplacer("%", "-", "+", "-").Replace(id)
		s.Place(ctx, id)
		s.Await(ctx, id, func(view desk.OrderView) bool { return view.WorkerBuildID == name })
	}
	for {
		d, err := s.versions().Deployment(ctx, "coffee")
		if err != nil || len(d.Versions) != len(running) {
			t.Fatalf("got %+v, %v", d, err)
		}
		i := slices.IndexFunc(d.Versions, func(v rollout.DeployedVersion) bool { return v.Running != running[v.BuildID] })
		if i < 0 {
			return
		}
		if !sleep.For(ctx, 100*time.Millisecond) { // until they are listed
			t.Fatalf("got %+v", d.Versions[i])
		}
	}
}

// TestAddedSearchAttribute: a namespace has nothing of coffee until a worker comes. When many
// come at once, the first order that is ready is listed by how it ended.
func TestAddedSearchAttribute(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	custom := func() map[string]enumspb.IndexedValueType {
		list, err := s.conn.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: s.conn.Namespace})
		if err != nil {
			t.Fatal(err)
		}
		return list.GetCustomAttributes()
	}
	listed := func() int {
		views, err := s.Orders.List(ctx, desk.ListOptions{Status: coffee.StatusCompleted})
		if err != nil {
			t.Fatal(err)
		}
		return len(views)
	}
	if len(custom()) != 0 || listed() != 0 {
		t.Errorf("before the first worker: %v", custom())
	}
	s.Place(ctx, "123")
	var all sync.WaitGroup
	for range 8 {
		all.Go(s.startWorker)
	}
	all.Wait()
	s.WantCompleted(ctx, "123", 525)
	for listed() == 0 {
		if !sleep.For(ctx, 20*time.Millisecond) {
			t.Fatal("the order is not listed")
		}
	}
	if attributes := custom(); len(attributes) != 1 || attributes[coffee.SearchAttributeStatus] != enumspb.INDEXED_VALUE_TYPE_KEYWORD {
		t.Errorf("eight workers added %v", attributes)
	}
	if history := s.Kinds(ctx, "123"); strings.Contains(history, "WorkflowTaskFailed") {
		t.Errorf("the order had to wait for the attribute: %s", history)
	}
}

// TestAddresses: an id that no workflow can have is refused as invalid before the
// server is asked.
func TestAddresses(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newShop(t)
	for _, id := range []string{"", "\xff", strings.Repeat("x", 1000)} {
		_, history := s.Orders.History(ctx, id)
		_, look := s.Orders.Describe(ctx, id)
		for what, err := range map[string]error{"history": history, "look": look, "cancel": s.Orders.Cancel(ctx, id, "")} {
			var invalid *coffee.InvalidOrderError
			if !errors.As(err, &invalid) {
				t.Errorf("%s of %.20q: got %v", what, id, err)
			}
		}
	}
}
