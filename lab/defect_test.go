//go:build unix && !noserver

package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/coffee/coffee"
	"example.com/coffee/commands"
	"example.com/coffee/internal/around"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/release"
)

// breakProgram gives a program the named defect.
func breakProgram(options *commands.Options, name string) {
	role := func(name string) bool { return slices.Contains(os.Args, name) }
	dial := func(c call) { options.Dial = append(options.Dial, grpc.WithChainUnaryInterceptor(c)) }
	if defect := clientDefects[name]; defect != nil && role("client") {
		dial(defect)
	}
	if name == "stale" && role("board") {
		dial(showStale())
	}
	if !role("worker") {
		return
	}
	if defect, sound := workerDefects[name], options.Worker; defect != nil {
		options.Worker = func(o *coffee.WorkerOptions) {
			if sound != nil {
				sound(o)
			}
			defect(o)
		}
	}
	switch {
	case name == "no-stop":
		time.AfterFunc(time.Second, func() { signal.Ignore(syscall.SIGTERM) }) // once it is listened to
	case name == "idle" && first("idle"):
		dial(pollNothing)
	case name == "crash" && first("crash"):
		time.AfterFunc(3*time.Second, func() { os.Exit(exit.Failure) })
	case name == "other-code", name == "unpatched" && options.Release != nil:
		options.Release = release.Named(release.Broken)
	}
}

// first reports whether this process is the first of a run that asks.
func first(what string) bool {
	file, err := os.OpenFile(filepath.Join(os.Getenv("XDG_DATA_HOME"), what), os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false
	}
	return file.Close() == nil
}

type call = func(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error

// clientDefects are what a client can do wrong, by name.
var clientDefects = map[string]call{
	// It acknowledges requests to cancel, and drops them.
	"lose-cancels": dropCancels(nil),
	// It says of requests to cancel that they come too late, and drops them.
	"refuse-cancels": dropCancels(status.Error(codes.NotFound, "workflow execution already completed")),
	// It takes an order of another drink for the same one.
	"join-anything": func(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		err := invoke(ctx, method, request, response, conn, options...)
		var started *serviceerror.WorkflowExecutionAlreadyStarted
		if response, ok := response.(*workflowservice.StartWorkflowExecutionResponse); ok && errors.As(serviceerror.FromStatus(status.Convert(err)), &started) {
			response.RunId = started.RunId
			return nil
		}
		return err
	},
	// It remembers what it was told of an order first.
	"remember": func(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		err := invoke(ctx, method, request, response, conn, options...)
		described, ok := response.(*workflowservice.DescribeWorkflowExecutionResponse)
		if !ok || err != nil {
			return err
		}
		id := described.GetWorkflowExecutionInfo().GetExecution().GetWorkflowId()
		if known, ok := remembered.LoadOrStore(id, described.WorkflowExecutionInfo); ok {
			described.WorkflowExecutionInfo = known.(*workflowpb.WorkflowExecutionInfo)
		}
		return nil
	},
	// It is impatient, and assumes that an order has arrived.
	"impatient": func(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		start, ok := response.(*workflowservice.StartWorkflowExecutionResponse)
		if !ok {
			return invoke(ctx, method, request, response, conn, options...)
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		err := invoke(ctx, method, request, response, conn, options...)
		if status.Code(err) == codes.DeadlineExceeded {
			start.RunId = "unknown"
			return nil
		}
		return err
	},
}

// dropCancels answers requests to cancel, and sends none.
func dropCancels(answer error) call {
	return func(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if signal, ok := request.(*workflowservice.SignalWorkflowExecutionRequest); ok && signal.GetSignalName() == coffee.SignalCancelOrder {
			return answer
		}
		return invoke(ctx, method, request, response, conn, options...)
	}
}

var remembered sync.Map

// showStale makes a board show for ever what it knew when the server was away for the
// first time.
func showStale() call {
	var mu sync.Mutex
	var known []*workflowpb.WorkflowExecutionInfo
	lost := false
	return func(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		err := invoke(ctx, method, request, response, conn, options...)
		list, ok := response.(*workflowservice.ListWorkflowExecutionsResponse)
		if !ok {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if lost = lost || err != nil; lost {
			list.Executions, list.NextPageToken = known, nil
			return nil
		}
		known = list.Executions
		return nil
	}
}

// pollNothing keeps a worker from getting any task.
func pollNothing(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if strings.Contains(method, "TaskQueue") && strings.Contains(method, "Poll") {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	return invoke(ctx, method, request, response, conn, options...)
}

// workerDefects are what a worker can do wrong, by name.
var workerDefects = map[string]func(*coffee.WorkerOptions){
	// A charge that was begun and not ended is taken for one that was made.
	"charged-already": interceptActivities(func(ctx context.Context, next func(context.Context) (any, error)) (any, error) {
		info := activity.GetInfo(ctx)
		if info.ActivityType.Name != coffee.ActivityChargeCustomer {
			return next(ctx)
		}
		mark := "charging-" + info.WorkflowExecution.RunID
		if !first(mark) {
			return true, nil
		}
		defer os.Remove(filepath.Join(os.Getenv("XDG_DATA_HOME"), mark))
		return next(ctx)
	}),
	// A charge that comes late is booked on another account.
	"misbook-late": breakLedger(func(l *brokenLedger) {
		l.charge = func(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
			if time.Since(activity.GetInfo(ctx).StartedTime) > coffee.ActivityTimeout {
				charge.OrderID += "-late"
			}
			return l.Ledger.Charge(ctx, charge)
		}
	}),
	// A commit that fails is taken for one that was done.
	"ignore-errors": breakLedger(func(l *brokenLedger) {
		l.charge = func(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
			entry, err := l.Ledger.Charge(ctx, charge)
			if err != nil && !coffee.IsRefusal(err) {
				return coffee.Entry{OrderID: charge.OrderID, Kind: coffee.EntryCharge, Amount: charge.Amount, RunID: charge.RunID}, nil
			}
			return entry, err
		}
	}),
	// A charge that is dated in the future is not refunded.
	"trust-clocks": breakLedger(func(l *brokenLedger) {
		l.refund = func(ctx context.Context, orderID, runID string) (coffee.Entry, error) {
			entries, err := l.Ledger.Entries(ctx, orderID)
			if err == nil && len(entries) == 1 && entries[0].RecordedAt.After(time.Now()) {
				return coffee.Entry{OrderID: orderID, Kind: coffee.EntryRefund, Amount: entries[0].Amount, RunID: runID}, nil
			}
			return l.Ledger.Refund(ctx, orderID, runID)
		}
	}),
	// Each run of an order is charged for itself.
	"charge-runs": breakLedger(func(l *brokenLedger) {
		l.charge = func(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
			if charge.RunID != activity.GetInfo(ctx).WorkflowExecution.RunID {
				charge.OrderID += "-again"
			}
			return l.Ledger.Charge(ctx, charge)
		}
	}),
	// A refund is given up after a while.
	"give-up": breakLedger(func(l *brokenLedger) {
		l.refund = func(ctx context.Context, orderID, runID string) (coffee.Entry, error) {
			entry, err := l.Ledger.Refund(ctx, orderID, runID)
			if err != nil && activity.GetInfo(ctx).Attempt > 3 {
				return coffee.Entry{OrderID: orderID, Kind: coffee.EntryVoid, RunID: runID}, nil
			}
			return entry, err
		}
	}),
	// A cent more is charged than was agreed.
	"overcharge": breakLedger(func(l *brokenLedger) {
		l.charge = func(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
			charge.Amount++
			return l.Ledger.Charge(ctx, charge)
		}
	}),
	// A refund is made out of nothing, and recorded nowhere.
	"no-refund": breakLedger(func(l *brokenLedger) {
		l.refund = func(_ context.Context, orderID, runID string) (coffee.Entry, error) {
			return coffee.Entry{OrderID: orderID, Kind: coffee.EntryVoid, RunID: runID}, nil
		}
	}),
	// A refund is tried again at once, and again.
	"spin": failRefundsWith(temporal.NewApplicationErrorWithOptions("no", "no", temporal.ApplicationErrorOptions{NextRetryDelay: 50 * time.Millisecond})),
	// A refund that fails does not say why.
	"say-nothing": failRefundsWith(temporal.NewApplicationError("", "no")),
	// Now and then a replay takes another way.
	"moody": func(options *coffee.WorkerOptions) {
		options.Register = func(r worker.Registry) {
			r.RegisterWorkflowWithOptions(func(ctx workflow.Context, input converter.RawValue) (coffee.OrderResult, error) {
				if workflow.IsReplaying(ctx) && time.Now().Unix()%3 == 0 {
					workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Second}), coffee.ActivitySendReceipt)
				}
				return (&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).OrderCoffeeWorkflow(ctx, input)
			}, workflow.RegisterOptions{Name: coffee.WorkflowType})
		}
	},
	// Some orders wait for something that does not come.
	"stuck": func(options *coffee.WorkerOptions) {
		options.Register = func(r worker.Registry) {
			r.RegisterWorkflowWithOptions(func(ctx workflow.Context, input converter.RawValue) (coffee.OrderResult, error) {
				if strings.HasSuffix(workflow.GetInfo(ctx).WorkflowExecution.ID, "7") {
					workflow.GetSignalChannel(ctx, "never").Receive(ctx, nil)
				}
				return (&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).OrderCoffeeWorkflow(ctx, input)
			}, workflow.RegisterOptions{Name: coffee.WorkflowType})
		}
	},
}

// failRefundsWith replaces the error of a refund that fails.
func failRefundsWith(replacement error) func(*coffee.WorkerOptions) {
	return interceptActivities(func(ctx context.Context, next func(context.Context) (any, error)) (any, error) {
		result, err := next(ctx)
		if err != nil && activity.GetInfo(ctx).ActivityType.Name == coffee.ActivityRefundCustomer {
			err = replacement
		}
		return result, err
	})
}

// brokenLedger is a ledger some of whose methods are not its own.
type brokenLedger struct {
	coffee.Ledger
	charge func(context.Context, coffee.Charge) (coffee.Entry, error)
	refund func(ctx context.Context, orderID, runID string) (coffee.Entry, error)
}

// Charge implements [coffee.Ledger].
func (l *brokenLedger) Charge(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
	return l.charge(ctx, charge)
}

// Refund implements [coffee.Ledger].
func (l *brokenLedger) Refund(ctx context.Context, orderID, runID string) (coffee.Entry, error) {
	return l.refund(ctx, orderID, runID)
}

func breakLedger(how func(*brokenLedger)) func(*coffee.WorkerOptions) {
	return func(options *coffee.WorkerOptions) {
		broken := &brokenLedger{Ledger: options.Ledger, charge: options.Ledger.Charge, refund: options.Ledger.Refund}
		how(broken)
		options.Ledger = broken
	}
}

// interceptActivities puts something around each attempt of an activity.
func interceptActivities(call func(ctx context.Context, next func(context.Context) (any, error)) (any, error)) func(*coffee.WorkerOptions) {
	return func(options *coffee.WorkerOptions) {
		options.Interceptors = append(options.Interceptors, &around.Calls{Activity: call})
	}
}
