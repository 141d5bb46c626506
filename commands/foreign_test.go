package commands

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee"
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
		if _, err := s.orders.Result(ctx, id); !errors.As(err, &ended) || !strings.Contains(ended.Problem, want) {
			t.Errorf("%s: got %v", id, err)
		}
		if view, err := s.orders.Describe(ctx, id); err != nil || view.Status != coffee.StatusCancelled || !strings.Contains(view.Failure, want) {
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
		if got := s.kinds(ctx, id); got != "[]" {
			t.Errorf("%s: the ledger has %s", id, got)
		}
	}
	s.wantNoBreach(ctx)
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
	w := worker.New(s.conn.Client, coffee.TaskQueue, worker.Options{})
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
	result, err := s.orders.Result(ctx, "completed")
	short("the result", result, err)
	_, err = s.orders.Result(ctx, "failed")
	short("the error", err.Error(), nil)
	state, err := s.orders.State(ctx, "running")
	short("the state", state, err)
	for _, id := range []string{"running", "completed", "failed"} {
		view, err := s.orders.Describe(ctx, id)
		short("the view of "+id, view, err)
	}
	s.await(ctx, "failed", func(view coffee.OrderView) bool { return !view.EndedAt.IsZero() })
	for _, brief := range []bool{true, false} {
		views, err := s.orders.List(ctx, coffee.ListOptions{Brief: brief})
		if len(views) != 3 {
			t.Errorf("there are %d orders", len(views))
		}
		for _, view := range views {
			short("the list", view, err)
		}
	}
}

// TestAddresses: an id that no workflow can have is refused as invalid before the
// server is asked.
func TestAddresses(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newShop(t)
	for _, id := range []string{"", "\x00", "a\nb", "\xff", strings.Repeat("x", 1000)} {
		_, history := s.orders.History(ctx, id)
		_, look := s.orders.Describe(ctx, id)
		for what, err := range map[string]error{"history": history, "look": look, "cancel": s.orders.Cancel(ctx, id, "")} {
			var invalid *coffee.InvalidOrderError
			if !errors.As(err, &invalid) {
				t.Errorf("%s of %.20q: got %v", what, id, err)
			}
		}
	}
}
