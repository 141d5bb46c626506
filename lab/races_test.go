//go:build unix && !noserver

package main

import (
	"context"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/ledger"
)

// TestWorkersThatDiffer: two workers with different seeds and price lists share the
// orders. Each order pays one price, once.
func TestWorkersThatDiffer(t *testing.T) {
	inVirtualTime(t, false, func(ctx context.Context, s *shop) {
		for i, price := range []flatPricing{100, 900} {
			ledger, err := ledger.Open(ctx, s.Book)
			if err != nil {
				t.Fatal(err)
			}
			s.stops = append(s.stops, func() { ledger.Close() })
			s.work(coffee.WorkerOptions{Ledger: ledger, Pricing: price, Services: coffee.ServiceConfig{
				BrewFailureRate: 0.3, BrewTime: 50 * time.Millisecond, Seed: uint64(i),
			}})
		}
		var ids []string
		for range 20 {
			ids = append(ids, coffee.NewOrderID())
			s.Place(ctx, ids[len(ids)-1])
		}
		prices := map[coffee.Cents]int{}
		for _, id := range ids {
			result, err := s.Orders.Result(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			prices[result.AmountCents]++
			entries, err := s.Ledger.Entries(ctx, id)
			if err != nil || len(entries) == 0 || entries[0].Amount != result.AmountCents {
				t.Errorf("%+v, but the ledger has %v, %v", result, entries, err)
			}
		}
		t.Log(prices)
		if prices[100]+prices[900] != len(ids) {
			t.Errorf("the prices are %v", prices)
		}
		s.WantNoBreach(ctx)
	})
}

// flatPricing charges the same price for everything.
type flatPricing coffee.Cents

func (flatPricing) Name() string                                        { return "flat" }
func (p flatPricing) Price(coffee.OrderRequest, time.Time) coffee.Cents { return coffee.Cents(p) }

// TestHostileClient sends signals, queries and updates that no client should send.
// The order that they are aimed at goes on, and so do the others.
func TestHostileClient(t *testing.T) {
	inVirtualTime(t, false, func(ctx context.Context, s *shop) {
		s.work(coffee.WorkerOptions{Services: coffee.ServiceConfig{BrewTime: 9 * time.Second}})
		s.Place(ctx, "victim")
		s.Place(ctx, "bystander")
		s.Await(ctx, "victim", func(view desk.OrderView) bool { return view.Stage == coffee.StageBrewing })
		big := strings.Repeat("\x1b[2J\u202e", 150_000) // 1.8 MB of JSON; the server takes 2
		for _, argument := range []any{nil, 42, "\x00", []any{map[string]any{}}, map[string]any{"reason": 7}, big} {
			if err := s.Conn.SignalWorkflow(ctx, coffee.WorkflowID("victim"), "", "no_such_signal", argument); err != nil {
				t.Error(err)
			}
			if _, err := s.Conn.QueryWorkflow(ctx, coffee.WorkflowID("victim"), "", "no_such_query", argument); err == nil {
				t.Error("a query that does not exist was answered")
			}
			// The query that exists takes no argument, and ignores one.
			if _, err := s.Conn.QueryWorkflow(ctx, coffee.WorkflowID("victim"), "", coffee.QueryGetStatus, argument); err != nil {
				t.Error(err)
			}
		}
		// The server refuses what is beyond its limit.
		if err := s.Conn.SignalWorkflow(ctx, coffee.WorkflowID("victim"), "", coffee.SignalCancelOrder, big+big); err == nil {
			t.Error("a signal of 3.6 MB was taken")
		}
		update, err := s.Conn.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
			WorkflowID: coffee.WorkflowID("victim"), UpdateName: "no_such_update", WaitForStage: client.WorkflowUpdateStageCompleted,
		})
		if err == nil {
			err = update.Get(ctx, nil)
		}
		if err == nil {
			t.Error("an update that does not exist was made")
		}
		s.WantCompleted(ctx, "bystander", 525)
		s.WantCompleted(ctx, "victim", 525)

		// A cancel is a cancel, whatever comes with it.
		for id, argument := range map[string]any{"c1": 42, "c2": "\x00", "c3": map[string]any{"reason": 7}, "c4": map[string]any{"reason": big}} {
			s.Place(ctx, id)
			if err := s.Conn.SignalWorkflow(ctx, coffee.WorkflowID(id), "", coffee.SignalCancelOrder, argument); err != nil {
				t.Error(err)
			}
			if result, err := s.Orders.Result(ctx, id); err != nil || result.Status != coffee.StatusCancelled {
				t.Errorf("%s: %+v, %v", id, result, err)
			}
			view, err := s.Orders.Describe(ctx, id)
			if err != nil || len([]rune(view.CancelReason)) > 201 {
				t.Errorf("%s: the reason has %d characters, %v", id, len([]rune(view.CancelReason)), err)
			}
		}
		history, err := s.Orders.History(ctx, "victim")
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range history.Events {
			if event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED {
				t.Errorf("a workflow task failed: %v", event)
			}
		}
		s.WantNoBreach(ctx)
	})
}
