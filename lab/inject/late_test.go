package inject

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
)

// TestLateCharges: some seven charges in ten go on after their attempt was given up, and
// nothing else does. The log says which came late, and which of those the ledger refused.
func TestLateCharges(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	sound, err := ledger.OpenMemory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sound.Close() })
	late := map[string]int{}
	var log bytes.Buffer
	for seed := range uint64(100) {
		options := coffee.WorkerOptions{Ledger: sound, Log: zerolog.New(&log)}
		ChargeLate(&options, seed)
		for _, name := range []string{coffee.ActivityChargeCustomer, coffee.ActivityBrewCoffee} {
			env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
			env.SetWorkerOptions(worker.Options{Interceptors: options.Interceptors})
			env.RegisterActivityWithOptions(func(ctx context.Context) (bool, error) { return ctx.Done() == nil, nil }, activity.RegisterOptions{Name: name})
			var endless bool
			if value, err := env.ExecuteActivity(name); err != nil || value.Get(&endless) != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if endless {
				late[name]++
			}
		}
		if seed > 0 {
			continue
		}
		attempt, giveUp := context.WithCancel(ctx)
		giveUp()
		lateCtx := context.WithValue(context.WithoutCancel(attempt), attemptKey{}, attempt)
		if _, err := options.Ledger.Charge(lateCtx, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525}); err != nil {
			t.Error(err)
		}
		if _, err := options.Ledger.Charge(lateCtx, coffee.Charge{OrderID: "1", RunID: "another", Amount: 525}); !errors.Is(err, coffee.ErrDuplicateOrder) {
			t.Errorf("another run: %v", err)
		}
		if _, err := options.Ledger.Charge(ctx, coffee.Charge{OrderID: "2", RunID: "run", Amount: 525}); err != nil {
			t.Error(err)
		}
	}
	if n := late[coffee.ActivityChargeCustomer]; n < 55 || n > 85 || late[coffee.ActivityBrewCoffee] != 0 {
		t.Errorf("%v of 100 have no end", late)
	}
	if got := log.String(); strings.Count(got, LateCharge) != 1 || strings.Count(got, LateChargeRefused) != 1 {
		t.Errorf("the log has %s", got)
	}
}
