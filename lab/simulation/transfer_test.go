//go:build unix && !noserver

package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee/dial"
	"example.com/coffee/lab/simulation"
)

// Transfer is a saga: it takes money from one account and adds it to another, and puts it
// back if that cannot be done.
func Transfer(ctx workflow.Context, from, to string, cents int) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 5 * time.Second})
	if err := workflow.ExecuteActivity(ctx, "Move", from, -cents).Get(ctx, nil); err != nil {
		return err
	}
	err := workflow.ExecuteActivity(ctx, "Move", to, cents).Get(ctx, nil)
	if err == nil {
		return nil
	}
	return errors.Join(err, workflow.ExecuteActivity(ctx, "Move", from, cents).Get(ctx, nil))
}

// bank is what the activities change. It outlives the workers, as a database would.
type bank struct {
	mu       sync.Mutex
	accounts map[string]int
	// done are the movements that were made. A careless bank does not look there.
	done     map[string]bool
	careless bool
}

func (b *bank) move(ctx context.Context, account string, cents int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	info := activity.GetInfo(ctx)
	key := info.WorkflowExecution.ID + info.ActivityID
	if _, ok := b.accounts[account]; !ok {
		return temporal.NewNonRetryableApplicationError("no such account", "account", nil)
	}
	if b.careless || !b.done[key] {
		b.accounts[account] += cents
	}
	b.done[key] = true
	return nil
}

// transfers makes some transfers in a storm, and returns how much money there is afterwards.
func transfers(t *testing.T, seed uint64, careless bool) (cents int) {
	t.Helper()
	b := &bank{accounts: map[string]int{"anna": 1000, "ben": 1000}, done: map[string]bool{}, careless: careless}
	dir := t.TempDir()
	simulation.Run(func() {
		ctx := context.Background()
		quiet := dial.NewLogger(zerolog.Nop())
		w := simulation.New(seed, dir, nil)
		if err := w.Start(ctx); err != nil {
			t.Error(err)
			return
		}
		defer func() {
			if err := w.Stop(); err != nil {
				t.Error(err)
			}
		}()
		for i := range 2 {
			w.Keep(fmt.Sprint("worker", i), func(ctx context.Context, node *simulation.Node) error {
				c, err := node.Dial(ctx, client.Options{Logger: quiet})
				if err != nil {
					return err
				}
				defer c.Close()
				wk := worker.New(c, "bank", worker.Options{})
				wk.RegisterWorkflow(Transfer)
				wk.RegisterActivityWithOptions(func(ctx context.Context, account string, cents int) error {
					return node.Do(func() error { return b.move(ctx, account, cents) })
				}, activity.RegisterOptions{Name: "Move"})
				if err := wk.Start(); err != nil {
					return err
				}
				defer wk.Stop()
				<-ctx.Done()
				return ctx.Err()
			}, nil)
		}
		c, err := w.Node("client").Dial(ctx, client.Options{Logger: quiet})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		storm := make(chan error, 1)
		go func() { storm <- w.Storm(ctx, 10) }()
		for i := range 10 {
			to := []string{"ben", "nobody"}[i%2]
			options := client.StartWorkflowOptions{ID: fmt.Sprint(i), TaskQueue: "bank"}
			time.Sleep(time.Second)
			var run client.WorkflowRun
			for run == nil {
				if run, err = c.ExecuteWorkflow(ctx, options, Transfer, "anna", to, 10); err != nil {
					time.Sleep(time.Second) // the server is away
				}
			}
			defer func() {
				var failed *temporal.WorkflowExecutionError
				for err := run.Get(ctx, nil); err != nil && !errors.As(err, &failed); err = run.Get(ctx, nil) {
					time.Sleep(time.Second)
				}
			}()
		}
		if err := <-storm; err != nil {
			t.Error(err)
		}
	})
	return b.accounts["anna"] + b.accounts["ben"]
}

// TestTransfers: a bank that takes each movement for a new one loses money within twenty
// seeds, when a worker dies between doing something and saying so. One that knows its
// movements again does not.
func TestTransfers(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		if got := transfers(t, seed, true); got != 2000 {
			t.Logf("with seed %d there are %d cents, not 2000", seed, got)
			if got := transfers(t, seed, false); got != 2000 {
				t.Errorf("with seed %d a careful bank has %d cents, not 2000", seed, got)
			}
			return
		}
	}
	t.Error("twenty seeds do not find the bug")
}
