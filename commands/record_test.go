package commands

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"example.com/coffee/coffee"
)

var record = flag.Bool("record", false, "record the histories that are missing in coffee/testdata")

func historyFile(name string) string {
	return filepath.Join("..", "coffee", "testdata", "histories", name+".json")
}

// TestRecordHistories records the histories that coffee's replay test reads. It
// leaves existing ones alone: those of earlier releases must still replay.
func TestRecordHistories(t *testing.T) {
	if !*record {
		t.Skip("records with -record; tests nothing")
	}
	for name, story := range stories() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat(historyFile(name)); err == nil {
				t.Skip("is recorded already")
			}
			story.record(t, name)
		})
	}
}

// stories returns what can happen to an order, by the names of the histories.
func stories() map[string]story {
	const forGood = 5 // attempts
	return map[string]story{
		"completed":                 {},
		"completed_after_jams":      {failing: coffee.ActivityBrewCoffee, times: 2},
		"completed_without_receipt": {failing: coffee.ActivitySendReceipt, times: forGood},
		"completed_cancel_too_late": {cancelAt: coffee.ActivitySendReceipt},
		"cancelled_before_charge":   {cancelFirst: true},
		"cancelled_while_charging":  {cancelAt: coffee.ActivityChargeCustomer},
		"cancelled_while_brewing":   {cancelAt: coffee.ActivityBrewCoffee},
		"cancelled_natively":        {cancelAt: coffee.ActivityBrewCoffee, natively: true},
		"failed_charge":             {failing: coffee.ActivityChargeCustomer, times: forGood},
		"failed_brew":               {failing: coffee.ActivityBrewCoffee, times: forGood},
		"failed_duplicate":          {duplicate: true},
		"invalid":                   {drink: "tea"},
		// With time skipped.
		"completed_skipping_jams":  {failing: coffee.ActivityBrewCoffee, times: 4, skipTime: true},
		"cancelled_skipping_jams":  {failing: coffee.ActivityChargeCustomer, times: 3, cancelAt: coffee.ActivityBrewCoffee, skipTime: true},
		"failed_skipping_backoffs": {failing: coffee.ActivityBrewCoffee, times: forGood, skipTime: true},

		// Reset by an operator after they had ended.
		"cancelled_after_reset": {cancelAt: coffee.ActivityBrewCoffee, resetTo: firstTask, keepSignals: true},
		"completed_after_reset": {cancelAt: coffee.ActivitySendReceipt, resetTo: firstTask, keepSignals: true},
		"failed_after_refund":   {cancelAt: coffee.ActivityBrewCoffee, resetTo: chargedTask},
		"invalid_after_reset":   {drink: "tea", resetTo: firstTask},
	}
}

// The events that complete an order's first workflow task, and the one after its
// charge.
const (
	firstTask   = 4
	chargedTask = 12
)

// story is what happens to an order while its history is recorded.
type story struct {
	drink       coffee.Drink // empty means a latte
	failing     string       // the activity whose first attempts fail
	times       int
	cancelAt    string // the activity during which the order is cancelled
	cancelFirst bool
	natively    bool
	skipTime    bool // if the history is recorded
	duplicate   bool // an earlier order of this id has been charged
	// resetTo, unless 0, is the event that the order is reset to after it has ended.
	resetTo     int64
	keepSignals bool
}

// order returns the order that the story is about.
func (story story) order(id string) coffee.OrderRequest {
	return coffee.OrderRequest{OrderID: id, Drink: cmp.Or(story.drink, "latte"), Size: coffee.SizeM}
}

func (story story) record(t *testing.T, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	const id = "123"
	s := openShop(t, story.skipTime, ledgerFile(t))
	stage := newStage(s)
	stage.pricing = coffee.StandardPricing{}
	stage.begin(ctx, id, story)
	stop := stage.startWorker()
	defer stop()
	s.ended(ctx, id)
	if story.resetTo != 0 {
		if err := s.resetTo(ctx, id, story.resetTo, story.keepSignals); err != nil {
			t.Fatal(err)
		}
		s.ended(ctx, id)
	}
	s.save(ctx, id, name)
}

// stage is where stories take place. In an order's first run the activities of its
// worker do what the story says. After a reset they work as they should.
type stage struct {
	*shop
	mu      sync.Mutex
	orders  map[string]*staged // by workflow id
	receipt map[string]bool    // workflow ids of orders whose receipt was sent
	pricing coffee.PricingStrategy
}

// staged is an order with its story.
type staged struct {
	story
	id         string
	runID      string
	cancelOnce sync.Once
}

func newStage(s *shop) *stage {
	s.T.Helper()
	// The worker of a stage is none of coffee's, which would add the attribute.
	_, err := s.conn.OperatorService().AddSearchAttributes(context.Background(), &operatorservice.AddSearchAttributesRequest{Namespace: s.conn.Namespace,
		SearchAttributes: map[string]enumspb.IndexedValueType{coffee.SearchAttributeStatus: enumspb.INDEXED_VALUE_TYPE_KEYWORD}})
	if err != nil {
		s.T.Fatal(err)
	}
	return &stage{shop: s, orders: map[string]*staged{}, receipt: map[string]bool{}}
}

// begin starts an order that follows its story.
func (s *stage) begin(ctx context.Context, id string, story story) {
	s.T.Helper()
	if story.duplicate {
		if _, err := s.Ledger.Charge(ctx, coffee.Charge{OrderID: id, RunID: "an earlier run", Amount: 525}); err != nil {
			s.T.Fatal(err)
		}
	}
	options := client.StartWorkflowOptions{ID: coffee.WorkflowID(id), TaskQueue: coffee.TaskQueue}
	s.mu.Lock() // its activities wait until it is known here
	defer s.mu.Unlock()
	var run client.WorkflowRun
	var err error
	if story.cancelFirst {
		run, err = s.conn.SignalWithStartWorkflow(ctx, options.ID, coffee.SignalCancelOrder,
			coffee.CancelRequest{Reason: "changed my mind"}, options, coffee.WorkflowType, story.order(id))
	} else {
		run, err = s.conn.ExecuteWorkflow(ctx, options, coffee.WorkflowType, story.order(id))
	}
	if err != nil {
		s.T.Fatal(err)
	}
	s.orders[options.ID] = &staged{story: story, id: id, runID: run.GetRunID()}
}

// startWorker starts the worker.
func (s *stage) startWorker() (stop func()) {
	s.T.Helper()
	w := worker.New(sdk(s.conn), coffee.TaskQueue, worker.Options{DisableRegistrationAliasing: true, Identity: "worker"})
	firstRun := func(info *workflow.Info) bool { return info.OriginalRunID == info.WorkflowExecution.RunID }
	w.RegisterWorkflowWithOptions(withUnicorns(&coffee.OrderWorkflow{Pricing: s.pricing, Index: func() coffee.Index { return coffee.IndexThere }}, firstRun),
		workflow.RegisterOptions{Name: coffee.WorkflowType})
	activities := coffee.NewActivities(coffee.NewServiceFactory(coffee.ServiceConfig{}, s.Ledger, zerolog.Nop()))
	perform(s, w, coffee.ActivityChargeCustomer, activities.ChargeCustomer)
	perform(s, w, coffee.ActivityBrewCoffee, activities.BrewCoffee)
	perform(s, w, coffee.ActivitySendReceipt, activities.SendReceipt)
	perform(s, w, coffee.ActivityRefundCustomer, activities.RefundCustomer)
	perform(s, w, coffee.ActivityDeliverCoffee, activities.DeliverCoffee)
	perform(s, w, coffee.ActivityRecallOrder, activities.RecallOrder)
	if err := w.Start(); err != nil {
		s.T.Fatal(err)
	}
	return w.Stop
}

// unicornLatte is on the menu of [withUnicorns] only.
const unicornLatte coffee.Drink = "unicorn-latte"

// withUnicorns is the workflow with one more drink on its menu, for some of its runs.
func withUnicorns(w *coffee.OrderWorkflow, menu func(*workflow.Info) bool) func(workflow.Context, converter.RawValue) (coffee.OrderResult, error) {
	return func(ctx workflow.Context, input converter.RawValue) (coffee.OrderResult, error) {
		if menu(workflow.GetInfo(ctx)) {
			payload := proto.CloneOf(input.Payload())
			payload.Data = bytes.ReplaceAll(payload.Data, []byte(unicornLatte), []byte("latte"))
			input = converter.NewRawValue(payload)
		}
		return w.OrderCoffeeWorkflow(ctx, input)
	}
}

// perform registers an activity that acts out the stories.
func perform[In, Out any](s *stage, w worker.Worker, name string, do func(context.Context, In) (Out, error)) {
	w.RegisterActivityWithOptions(func(ctx context.Context, in In) (Out, error) {
		var none Out
		info := activity.GetInfo(ctx)
		s.mu.Lock()
		order := s.orders[info.WorkflowExecution.ID]
		s.mu.Unlock()
		if info.WorkflowExecution.RunID == order.runID {
			if order.cancelAt == name {
				order.cancelOnce.Do(func() { s.cancel(ctx, order) })
				if name != coffee.ActivitySendReceipt {
					<-ctx.Done() // until the order is over
					return none, ctx.Err()
				}
			}
			if order.failing == name && int(info.Attempt) <= order.times {
				return none, errors.New("out of order")
			}
		}
		out, err := do(ctx, in)
		if err == nil && name == coffee.ActivitySendReceipt {
			s.mu.Lock()
			s.receipt[info.WorkflowExecution.ID] = true
			s.mu.Unlock()
		}
		return out, err
	}, activity.RegisterOptions{Name: name})
}

func (s *stage) cancel(ctx context.Context, order *staged) {
	var err error
	if order.natively {
		err = s.conn.CancelWorkflow(ctx, coffee.WorkflowID(order.id), "")
	} else {
		err = s.Orders.Cancel(ctx, order.id, "changed my mind")
	}
	if err != nil {
		s.T.Error(err)
	}
}

// save saves the history of an order for the replay test.
func (s *shop) save(ctx context.Context, id, name string) {
	s.T.Helper()
	data, err := protojson.MarshalOptions{Indent: "  "}.Marshal(s.history(ctx, id))
	if err != nil {
		s.T.Fatal(err)
	}
	if err := os.WriteFile(historyFile(name), append(data, '\n'), 0o644); err != nil {
		s.T.Fatal(err)
	}
}
