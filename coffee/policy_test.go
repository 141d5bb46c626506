package coffee

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/mock"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/mocks"
	"go.temporal.io/sdk/testsuite"
)

// TestPolicy pins the numbers that orders are made by, written out. The first four are
// part of the contract.
func TestPolicy(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		got, want any
	}{
		{"start-to-close timeout", ActivityTimeout, 10 * time.Second},
		{"attempts", MaxAttempts, 5},
		{"first backoff", FirstBackoff, time.Second},
		{"backoff factor", BackoffFactor, 2},
		{"longest backoff", MaxBackoff, 100 * time.Second},
		{"longest backoff of a refund", MaxRefundBackoff, 30 * time.Second},
		{"heartbeat timeout", BrewHeartbeatTimeout, 3 * time.Second},
		{"heartbeat interval", heartbeatInterval, 300 * time.Millisecond},
		{"sticky timeout", stickyTimeout, 2 * time.Second},
		{"concurrency", DefaultConcurrency, 200},
	} {
		if test.got != test.want {
			t.Errorf("%s: %v, want %v", test.name, test.got, test.want)
		}
	}
}

// TestRetryPolicies: a step is tried five times, a refund until it succeeds.
func TestRetryPolicies(t *testing.T) {
	t.Parallel()
	step, refund := stepOptions("").RetryPolicy, insistentOptions("").RetryPolicy
	if step.InitialInterval != time.Second || step.BackoffCoefficient != 2 || step.MaximumInterval != 100*time.Second || step.MaximumAttempts != 5 {
		t.Errorf("a step: %+v", step)
	}
	if refund.InitialInterval != time.Second || refund.BackoffCoefficient != 2 || refund.MaximumInterval != 30*time.Second || refund.MaximumAttempts != 0 {
		t.Errorf("a refund: %+v", refund)
	}
}

// TestTimeoutsOfSteps: each attempt may take ten seconds, and a brew must not be
// silent for longer than three.
func TestTimeoutsOfSteps(t *testing.T) {
	t.Parallel()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(silent)
	env := suite.NewTestWorkflowEnvironment()
	(&OrderWorkflow{Pricing: StandardPricing{}}).Register(env)
	NewActivities(nil).Register(env)
	env.OnActivity(ActivityChargeCustomer, mock.Anything, mock.Anything).Return(true, nil)
	env.OnActivity(ActivityBrewCoffee, mock.Anything, mock.Anything).Return(true, nil)
	env.OnActivity(ActivitySendReceipt, mock.Anything, mock.Anything).Return(false, errors.New("out of paper"))
	env.OnActivity(ActivityDeliverCoffee, mock.Anything, mock.Anything).Return(true, nil)
	type timeouts struct{ startToClose, heartbeat time.Duration }
	got := map[string]timeouts{}
	steps := []string{"charge_customer", "brew_coffee", "send_receipt", "deliver_coffee"}
	env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		if !slices.Contains(steps, info.ActivityType.Name) {
			t.Errorf("the step %s is not mocked: add it to this test with OnActivity, and to its list of steps", info.ActivityType.Name)
		}
		got[info.ActivityType.Name] = timeouts{info.StartToCloseTimeout, info.HeartbeatTimeout}
	})
	env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: "order-123", TaskQueue: "coffee-orders"})
	env.ExecuteWorkflow("OrderCoffeeWorkflow", OrderRequest{OrderID: "123", Drink: "latte", Size: SizeM})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	for _, name := range steps {
		want := timeouts{startToClose: 10 * time.Second}
		if name == "brew_coffee" {
			want.heartbeat = 3 * time.Second
		}
		if got[name] != want {
			t.Errorf("%s: %+v, want %+v", name, got[name], want)
		}
	}
}

// TestHeartbeats: a brew of one second heartbeats every 300 ms, from the beginning,
// and not once it is over.
func TestHeartbeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now() // by the bubble's clock
		var beats []time.Duration
		stop := heartbeat(t.Context(), func() { beats = append(beats, time.Since(began)) })
		time.Sleep(time.Second)
		stop()
		time.Sleep(time.Second)
		if want := []time.Duration{0, 300 * time.Millisecond, 600 * time.Millisecond, 900 * time.Millisecond}; !slices.Equal(beats, want) {
			t.Errorf("heartbeats after %v, want %v", beats, want)
		}
	})
}

// TestSDKOptions: what the SDK would do by default makes a cancel late and a dead
// worker's orders wait.
func TestSDKOptions(t *testing.T) {
	t.Parallel()
	fatal := make(chan error, 1)
	options := sdkOptions(WorkerOptions{Concurrency: 7, DrainTime: 8 * time.Second}, fatal)
	for _, test := range []struct {
		name      string
		got, want any
	}{
		{"concurrency", options.MaxConcurrentActivityExecutionSize, 7},
		{"drain time", options.WorkerStopTimeout, 8 * time.Second},
		{"sticky timeout", options.StickyScheduleToStartTimeout, 2 * time.Second},
		{"longest throttle of heartbeats", options.MaxHeartbeatThrottleInterval, 300 * time.Millisecond},
		{"throttle of heartbeats", options.DefaultHeartbeatThrottleInterval, 300 * time.Millisecond},
		{"no aliases of registered names", options.DisableRegistrationAliasing, true},
	} {
		if test.got != test.want {
			t.Errorf("%s: %v, want %v", test.name, test.got, test.want)
		}
	}
	gone := errors.New("gone")
	options.OnFatalError(gone)
	options.OnFatalError(errors.New("the second one has no room, and must not block"))
	if err := <-fatal; err != gone {
		t.Error(err)
	}
}

// TestPlaceOptions: an order id is never used twice, not even when its order is
// over, and the server says so instead of returning the run that is there.
func TestPlaceOptions(t *testing.T) {
	t.Parallel()
	var got client.StartWorkflowOptions
	run := &mocks.WorkflowRun{}
	run.On("GetRunID").Return("run")
	temporal := &mocks.Client{}
	temporal.On("ExecuteWorkflow", mock.Anything, mock.Anything, "OrderCoffeeWorkflow", OrderRequest{OrderID: "123", Drink: "latte", Size: "M"}).
		Run(func(args mock.Arguments) { got = args.Get(1).(client.StartWorkflowOptions) }).Return(run, nil)
	placed, err := NewClient(temporal, "default").Place(t.Context(), OrderRequest{OrderID: "123", Drink: "Latte", Size: "m"})
	if err != nil || placed.RunID != "run" || placed.Joined {
		t.Errorf("got %+v, %v", placed, err)
	}
	if got.ID != "order-123" || got.TaskQueue != "coffee-orders" ||
		got.WorkflowIDReusePolicy != enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE ||
		got.WorkflowIDConflictPolicy != enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL || !got.WorkflowExecutionErrorWhenAlreadyStarted {
		t.Errorf("placed with %+v", got)
	}
	// Nothing but a cancel ends an order early: a timeout would run no compensation.
	if got.WorkflowExecutionTimeout != 0 || got.WorkflowRunTimeout != 0 {
		t.Errorf("the workflow has a timeout: %+v", got)
	}
}
