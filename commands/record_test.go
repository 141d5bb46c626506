package commands

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/encoding/protojson"

	"example.com/coffee/coffee"
)

var record = flag.Bool("record", false, "record the histories in coffee/testdata anew")

// TestRecordHistories records the histories that coffee's replay test reads.
func TestRecordHistories(t *testing.T) {
	if !*record {
		t.Skip("records with -record; tests nothing")
	}
	latte := func(id string) any { return coffee.OrderRequest{OrderID: id, Drink: "latte", Size: coffee.SizeM} }
	tea := func(id string) any { return coffee.OrderRequest{OrderID: id, Drink: "tea", Size: coffee.SizeM} }
	const forGood = coffee.MaxAttempts
	for name, story := range map[string]story{
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
		"invalid":                   {order: tea},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if story.order == nil {
				story.order = latte
			}
			story.record(t, name)
		})
	}
}

// story is what happens to an order while its history is recorded.
type story struct {
	order       func(id string) any
	failing     string // the activity whose first attempts fail
	times       int
	cancelAt    string // the activity during which the order is cancelled
	cancelFirst bool
	natively    bool
	duplicate   bool // an earlier order of this id has been charged
}

func (story story) record(t *testing.T, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	id := "123"
	if story.duplicate {
		if _, err := s.ledger.Charge(ctx, coffee.Charge{OrderID: id, RunID: "an earlier run", Amount: 525}); err != nil {
			t.Fatal(err)
		}
	}
	run, err := s.conn.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: coffee.WorkflowID(id), TaskQueue: coffee.TaskQueue}, coffee.WorkflowType, story.order(id))
	if err != nil {
		t.Fatal(err)
	}
	if story.cancelFirst {
		story.cancel(ctx, t, s, id)
	}
	w := worker.New(s.conn.Client, coffee.TaskQueue, worker.Options{DisableRegistrationAliasing: true, Identity: "worker"})
	(&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}, Indexed: true}).Register(w)
	activities := coffee.NewActivities(coffee.NewServiceFactory(coffee.ServiceConfig{}, s.ledger, zerolog.Nop()))
	staged(w, coffee.ActivityChargeCustomer, activities.ChargeCustomer, story, t, s)
	staged(w, coffee.ActivityBrewCoffee, activities.BrewCoffee, story, t, s)
	staged(w, coffee.ActivitySendReceipt, activities.SendReceipt, story, t, s)
	staged(w, coffee.ActivityRefundCustomer, activities.RefundCustomer, story, t, s)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	_ = run.Get(ctx, nil) // some fail, as they should
	story.save(ctx, t, s, id, name)
}

func (story story) cancel(ctx context.Context, t *testing.T, s *shop, id string) {
	err := s.conn.CancelWorkflow(ctx, coffee.WorkflowID(id), "")
	if !story.natively {
		err = s.orders.Cancel(ctx, id, "changed my mind")
	}
	if err != nil {
		t.Error(err)
	}
}

// staged registers an activity in which the story takes place.
func staged[In, Out any](w worker.Worker, name string, do func(context.Context, In) (Out, error), story story, t *testing.T, s *shop) {
	var cancelOnce sync.Once
	w.RegisterActivityWithOptions(func(ctx context.Context, in In) (Out, error) {
		var none Out
		if story.cancelAt == name {
			cancelOnce.Do(func() { story.cancel(ctx, t, s, "123") })
			if name != coffee.ActivitySendReceipt {
				<-ctx.Done() // until the order is over
				return none, ctx.Err()
			}
		}
		if story.failing == name && int(activity.GetInfo(ctx).Attempt) <= story.times {
			return none, errors.New("out of order")
		}
		return do(ctx, in)
	}, activity.RegisterOptions{Name: name})
}

func (story story) save(ctx context.Context, t *testing.T, s *shop, id, name string) {
	data, err := protojson.MarshalOptions{Indent: "  "}.Marshal(s.history(ctx, id))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("..", "coffee", "testdata", "histories", name+".json")
	if err := os.WriteFile(file, append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
