//go:build unix && !noserver

package main

import (
	"context"
	"database/sql"
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
	"example.com/coffee/internal/sqlitefile"
)

// breakProgram gives a program the named defect.
func breakProgram(options *commands.Options, name string) {
	role := func(name string) bool { return slices.Contains(os.Args, name) }
	dial := func(c call) { options.Dial = append(options.Dial, grpc.WithChainUnaryInterceptor(c)) }
	if defect := clientDefects[name]; defect != nil && role("client") {
		dial(defect)
	}
	if defect := boardDefects[name]; defect != nil && role("board") {
		dial(defect())
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
	case name == "idle" && firstWorker():
		dial(pollNothing)
	case name == "crash" && firstWorker():
		time.AfterFunc(5*time.Second, func() { os.Exit(exit.Failure) })
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

// firstWorker reports whether this is the worker of a run that asked first, before it was
// started again perhaps. With faults of the network each has an address of its own.
func firstWorker() bool {
	mark := filepath.Join(os.Getenv("XDG_DATA_HOME"), "worker")
	args := strings.Join(os.Args, " ")
	if first("worker") {
		return os.WriteFile(mark, []byte(args), 0o600) == nil
	}
	marked, err := os.ReadFile(mark)
	return err == nil && string(marked) == args
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

// boardDefects are what a board can do wrong, by name.
var boardDefects = map[string]func() call{"stale": showStale, "tidy": func() call { return terminateSlow }}

// terminateSlow makes a board terminate the orders that take long.
func terminateSlow(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, response, conn, options...)
	if list, ok := response.(*workflowservice.ListWorkflowExecutionsResponse); ok && err == nil {
		for _, order := range list.Executions {
			if order.GetCloseTime() == nil && time.Since(order.GetStartTime().AsTime()) > 2*time.Second {
				// It may have ended by now.
				_ = invoke(ctx, workflowservice.WorkflowService_TerminateWorkflowExecution_FullMethodName, &workflowservice.TerminateWorkflowExecutionRequest{
					Namespace: request.(*workflowservice.ListWorkflowExecutionsRequest).GetNamespace(), WorkflowExecution: order.GetExecution(),
				}, &workflowservice.TerminateWorkflowExecutionResponse{}, conn, options...)
			}
		}
	}
	return err
}

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
		l.deliver = func(ctx context.Context, orderID string) error {
			if err := l.Ledger.Deliver(ctx, orderID); coffee.IsRefusal(err) {
				return err
			}
			return nil
		}
	}),
	// A charge that is dated in the future is not refunded, and not handed out for.
	"trust-clocks": breakLedger(func(l *brokenLedger) {
		l.deliver = func(ctx context.Context, orderID string) error {
			if entries, err := l.Ledger.Entries(ctx, orderID); err == nil && len(entries) == 1 && entries[0].RecordedAt.After(time.Now()) {
				return nil
			}
			return l.Ledger.Deliver(ctx, orderID)
		}
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
	// Whatever is asked of the ledger, the order is settled.
	"refuse-all": breakLedger(func(l *brokenLedger) {
		l.charge = func(context.Context, coffee.Charge) (coffee.Entry, error) { return coffee.Entry{}, coffee.ErrSettled }
	}),
	// A coffee is handed out, and recorded nowhere.
	"no-delivery": breakLedger(func(l *brokenLedger) {
		l.deliver = func(context.Context, string) error { return nil }
	}),
	// A charge that is repeated is refused.
	"forgetful": breakLedger(func(l *brokenLedger) {
		l.charge = func(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
			if entries, err := l.Ledger.Entries(ctx, charge.OrderID); err == nil && len(entries) > 0 {
				return coffee.Entry{}, coffee.ErrDuplicateOrder
			}
			return l.Ledger.Charge(ctx, charge)
		}
	}),
	// A charge is recorded later.
	"write-behind": breakLedger(func(l *brokenLedger) {
		l.charge = func(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
			time.AfterFunc(time.Second, func() { l.Ledger.Charge(context.WithoutCancel(ctx), charge) })
			return coffee.Entry{OrderID: charge.OrderID, Kind: coffee.EntryCharge, Amount: charge.Amount, RunID: charge.RunID}, nil
		}
	}),
	// Any error of the ledger is taken for a refusal.
	"final-errors": breakLedger(func(l *brokenLedger) {
		l.charge = func(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
			entry, err := l.Ledger.Charge(ctx, charge)
			return entry, refusal(err)
		}
		l.deliver = func(ctx context.Context, orderID string) error { return refusal(l.Ledger.Deliver(ctx, orderID)) }
	}),
	// Some customers cannot be charged.
	"unlucky": breakLedger(func(l *brokenLedger) {
		l.charge = func(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
			if strings.HasSuffix(charge.OrderID, "7") {
				return coffee.Entry{}, errors.New("the ledger does not answer")
			}
			return l.Ledger.Charge(ctx, charge)
		}
	}),
	// If nothing was charged yet, nothing is recorded, and a charge may still come.
	"no-void": breakLedger(func(l *brokenLedger) {
		l.refund = func(ctx context.Context, orderID, runID string) (coffee.Entry, error) {
			if entries, err := l.Ledger.Entries(ctx, orderID); err == nil && len(entries) == 0 {
				return coffee.Entry{OrderID: orderID, Kind: coffee.EntryVoid, RunID: runID}, nil
			}
			return l.Ledger.Refund(ctx, orderID, runID)
		}
	}),
	// A charge comes after a void, past the database's guard.
	"charge-void": breakLedger(func(l *brokenLedger) {
		l.charge = func(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
			entry, err := l.Ledger.Charge(ctx, charge)
			if errors.Is(err, coffee.ErrSettled) {
				return entry, write(ctx, "ledger_entries_first", true, `INSERT INTO ledger_entries
					SELECT order_id, 'charge', $1, run_id, recorded_at FROM ledger_entries WHERE order_id = $2 AND kind = 'void'`, int64(charge.Amount), charge.OrderID)
			}
			return entry, err
		}
	}),
	// A cent is not given back, past the database's guard.
	"keep-cent": breakLedger(func(l *brokenLedger) {
		l.refund = func(ctx context.Context, orderID, runID string) (coffee.Entry, error) {
			if delivered, err := l.Ledger.Paid(ctx, orderID); err == nil && !delivered {
				if err := write(ctx, "ledger_entries_refund", true, `INSERT INTO ledger_entries
					SELECT order_id, 'refund', amount_cents - 1, run_id, recorded_at FROM ledger_entries WHERE order_id = $1`, orderID); err != nil {
					return coffee.Entry{}, err
				}
			}
			return l.Ledger.Refund(ctx, orderID, runID)
		}
	}),
	// The database is not guarded any more.
	"unguarded": func(*coffee.WorkerOptions) {
		if err := write(context.Background(), "ledger_entries_no_delete", false, `SELECT 1`); err != nil {
			panic(err)
		}
	},
	// A brew that jams is not tried again.
	"one-try": afterActivity(coffee.ActivityBrewCoffee, func(_ string, err error) error {
		if err != nil {
			err = temporal.NewNonRetryableApplicationError(err.Error(), "no", nil)
		}
		return err
	}),
	// Nobody notices that the machine has jammed.
	"no-jam": afterActivity(coffee.ActivityBrewCoffee, func(_ string, err error) error {
		var jammed *temporal.ApplicationError
		if errors.As(err, &jammed) && jammed.Type() == coffee.ErrorTypeJammed {
			return nil
		}
		return err
	}),
	// Some receipts are never sent.
	"no-receipt": afterActivity(coffee.ActivitySendReceipt, func(workflowID string, err error) error {
		if err == nil && strings.HasSuffix(workflowID, "3") {
			return errors.New("the printer is out of paper")
		}
		return err
	}),
	// It does not hear that an order is cancelled.
	"deaf": func(options *coffee.WorkerOptions) {
		options.Interceptors = append(options.Interceptors, &around.Calls{Workflow: func(ctx workflow.Context, next func() (any, error)) (any, error) {
			signals := workflow.GetSignalChannel(ctx, coffee.SignalCancelOrder)
			for signals.ReceiveAsync(nil) {
			}
			workflow.Go(ctx, func(ctx workflow.Context) {
				for {
					signals.Receive(ctx, nil)
				}
			})
			return next()
		}})
	},
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
	return afterActivity(coffee.ActivityRefundCustomer, func(_ string, err error) error {
		if err != nil {
			err = replacement
		}
		return err
	})
}

// afterActivity replaces the error of an attempt, which is nil if it succeeded.
func afterActivity(name string, replace func(workflowID string, err error) error) func(*coffee.WorkerOptions) {
	return interceptActivities(func(ctx context.Context, next func(context.Context) (any, error)) (any, error) {
		result, err := next(ctx)
		if info := activity.GetInfo(ctx); info.ActivityType.Name == name {
			err = replace(info.WorkflowExecution.ID, err)
		}
		return result, err
	})
}

// brokenLedger is a ledger some of whose methods are not its own.
type brokenLedger struct {
	coffee.Ledger
	charge  func(context.Context, coffee.Charge) (coffee.Entry, error)
	refund  func(ctx context.Context, orderID, runID string) (coffee.Entry, error)
	deliver func(ctx context.Context, orderID string) error
}

// Charge implements [coffee.Ledger].
func (l *brokenLedger) Charge(ctx context.Context, charge coffee.Charge) (coffee.Entry, error) {
	return l.charge(ctx, charge)
}

// Refund implements [coffee.Ledger].
func (l *brokenLedger) Refund(ctx context.Context, orderID, runID string) (coffee.Entry, error) {
	return l.refund(ctx, orderID, runID)
}

// Deliver implements [coffee.Ledger].
func (l *brokenLedger) Deliver(ctx context.Context, orderID string) error {
	return l.deliver(ctx, orderID)
}

// write writes to the database of the ledger without one of its triggers, which it puts back
// if asked to.
func write(ctx context.Context, trigger string, back bool, statement string, args ...any) (err error) {
	db, err := sql.Open("sqlite", sqlitefile.DSN(os.Getenv("COFFEE_LEDGER"), "rw", map[string]string{"busy_timeout": "5000"})+sqlitefile.Immediate)
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	definition := "SELECT 1"
	if err := tx.QueryRowContext(ctx, `SELECT sql FROM sqlite_master WHERE name = $1`, trigger).Scan(&definition); err != nil && (back || !errors.Is(err, sql.ErrNoRows)) {
		return err
	}
	if !back {
		definition = "SELECT 1"
	}
	for _, step := range []struct {
		statement string
		args      []any
	}{{"DROP TRIGGER IF EXISTS " + trigger, nil}, {statement, args}, {definition, nil}} {
		if _, err := tx.ExecContext(ctx, step.statement, step.args...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// refusal takes any error of the ledger for a refusal.
func refusal(err error) error {
	if err != nil && !coffee.IsRefusal(err) {
		return coffee.ErrInvalidEntry
	}
	return err
}

func breakLedger(how func(*brokenLedger)) func(*coffee.WorkerOptions) {
	return func(options *coffee.WorkerOptions) {
		broken := &brokenLedger{Ledger: options.Ledger, charge: options.Ledger.Charge, refund: options.Ledger.Refund, deliver: options.Ledger.Deliver}
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
