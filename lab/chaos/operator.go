//go:build unix

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/sleep"
	"example.com/coffee/internal/text"
	"example.com/coffee/lab/chaos/operations"
)

// action is what an operator does to an order.
type action struct {
	kind operations.Kind
	// over is true if it is done to orders that have ended.
	over bool
	do   do
}

// do does something to an order. It returns what takes it back later, even if it is not
// known to be done; nil if nothing does.
type do func(ctx context.Context, conn client.Client, id string, f fault) (undo, error)

type undo func(ctx context.Context, conn client.Client) error

// actions returns what operators do. What comes up more often is there more often.
func (r *run) actions() []action {
	return []action{
		{operations.Reset, true, r.reset}, {operations.Reset, true, r.reset}, {operations.Reset, false, r.reset},
		{operations.Terminate, false, func(ctx context.Context, conn client.Client, id string, _ fault) (undo, error) {
			return nil, conn.TerminateWorkflow(ctx, coffee.WorkflowID(id), "", "chaos")
		}},
		{operations.Request, false, func(ctx context.Context, conn client.Client, id string, _ fault) (undo, error) {
			return nil, conn.CancelWorkflow(ctx, coffee.WorkflowID(id), "")
		}},
		{operations.Delete, true, func(ctx context.Context, conn client.Client, id string, _ fault) (undo, error) {
			_, err := conn.WorkflowService().DeleteWorkflowExecution(ctx, &workflowservice.DeleteWorkflowExecutionRequest{
				Namespace: r.namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: coffee.WorkflowID(id)}})
			return nil, err
		}},
		{pause, false, r.pause}, {pause, false, r.pause},
		{repair, true, r.repairTwice},
		{retention, true, r.changeRetention},
	}
}

// The actions that are no operations on an order: they leave it as it is.
const (
	pause     operations.Kind = "pause"
	repair    operations.Kind = "repair twice"
	retention operations.Kind = "change retention"
)

// operate does what an operator does, to one of the orders. It does nothing if there is
// none, or if the server is away.
func (r *run) operate(ctx context.Context, f fault) (done bool, err error) {
	actions := r.actions()
	act := actions[f.detail%uint64(len(actions))]
	all, err := r.reader.Read()
	if err != nil {
		return false, err
	}
	progress := tally(all)
	var ids []string
	for n := range r.Orders {
		id := planOrder(r.Seed, n).request.OrderID
		if progress.acknowledged[id] && progress.ended[id] == act.over && !r.deleted(id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return time.Now().After(r.freezeBy), nil // perhaps there is one soon
	}
	id := ids[(f.detail>>8)%uint64(len(ids))]
	conn, err := r.connect(ctx)
	if err != nil {
		return false, ctx.Err() // the server is away
	}
	defer conn.Close()
	changes := act.kind != pause && act.kind != repair && act.kind != retention
	op := operations.Operation{Order: id, Kind: act.kind}
	if changes {
		if op, err = r.journal.Begin(op); err != nil {
			return false, err
		}
	}
	if changes || act.kind == pause { // which may end an attempt
		r.touched[id] = append(r.touched[id], act.kind)
	}
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	undo, answer := act.do(limited, conn, id, f)
	outcome := operations.OK
	var notFound *serviceerror.NotFound
	switch {
	case errors.As(answer, &notFound): // the server says so of orders that are over, too
		outcome = operations.Over
	case answer != nil:
		outcome = operations.Unknown
	}
	if changes && (outcome == operations.Over && act.kind == operations.Delete || errors.As(answer, new(notSent))) {
		r.touched[id] = r.touched[id][:len(r.touched[id])-1] // the server did not know it, or was not asked
	}
	if undo != nil { // even if the answer was lost
		r.later(ctx, f.pause, undo)
	}
	if changes && outcome != operations.Unknown {
		if err := r.journal.End(op, outcome, ""); err != nil {
			return false, err
		}
	}
	said := outcome
	if outcome == operations.Unknown {
		said = text.Printable(answer.Error())
	}
	r.record(f, fmt.Sprintf("%-8s %s order %s: %s", f.kind, act.kind, id, said))
	return true, nil
}

// notSent is why an operator's request was not sent.
type notSent struct{ error }

func (e notSent) Unwrap() error { return e.error }

// reset resets an order to one of the events that it can be reset to. Every other time
// the signals that came later are left out.
func (r *run) reset(ctx context.Context, conn client.Client, id string, f fault) (undo, error) {
	history, err := desk.NewClient(conn, r.namespace).History(ctx, id)
	if err != nil {
		return nil, notSent{err}
	}
	var places []int64
	for _, event := range history.Events {
		if event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
			places = append(places, event.GetEventId())
		}
	}
	if len(places) == 0 {
		return nil, notSent{errors.New("no worker has had it yet")}
	}
	var exclude []enumspb.ResetReapplyExcludeType
	if f.detail>>40%2 == 0 {
		exclude = append(exclude, enumspb.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL)
	}
	_, err = conn.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace:                 r.namespace,
		WorkflowExecution:         &commonpb.WorkflowExecution{WorkflowId: coffee.WorkflowID(id), RunId: history.RunID},
		WorkflowTaskFinishEventId: places[f.detail>>20%uint64(len(places))],
		ResetReapplyExcludeTypes:  exclude,
		RequestId:                 fmt.Sprint(f.detail),
		Reason:                    "chaos",
	})
	return nil, err
}

// pause pauses what an order is doing, and lets it go on after a while.
func (r *run) pause(ctx context.Context, conn client.Client, id string, f fault) (undo, error) {
	history, err := desk.NewClient(conn, r.namespace).History(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(history.Pending) == 0 {
		return nil, errors.New("nothing is under way")
	}
	execution := &commonpb.WorkflowExecution{WorkflowId: coffee.WorkflowID(id), RunId: history.RunID}
	activity := history.Pending[0].GetActivityId()
	_, err = conn.WorkflowService().PauseActivity(ctx, &workflowservice.PauseActivityRequest{
		Namespace: r.namespace, Execution: execution, Identity: "chaos", Reason: "chaos",
		Activity: &workflowservice.PauseActivityRequest_Id{Id: activity},
	})
	return func(ctx context.Context, conn client.Client) error {
		_, err := conn.WorkflowService().UnpauseActivity(ctx, &workflowservice.UnpauseActivityRequest{
			Namespace: r.namespace, Execution: execution, Identity: "chaos",
			Activity: &workflowservice.UnpauseActivityRequest_Id{Id: activity},
		})
		var notFound *serviceerror.NotFound
		if errors.As(err, &notFound) { // it is over
			return nil
		}
		return err
	}, err
}

// later takes something back after a pause, and tries again until the server has done it.
func (r *run) later(ctx context.Context, after time.Duration, undo undo) {
	r.undoing.Add(1)
	r.lasting.Go(func() error {
		defer r.undoing.Add(-1)
		sleep.For(ctx, after)
		limit := patience
		if ctx.Err() != nil && r.Cluster == nil {
			return nil // the server is gone, and everything with it
		} else if ctx.Err() != nil {
			limit = 10 * time.Second // others go on using it
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		for {
			conn, err := r.connect(ctx)
			if err == nil {
				err = undo(ctx, conn)
				conn.Close()
			}
			if err == nil {
				return nil
			}
			if !sleep.For(ctx, 100*time.Millisecond) {
				return fmt.Errorf("an operator cannot take back what he did: %w", err)
			}
		}
	})
}

// repairTwice runs two repairs at once, as two operators would, and judges what they find:
// whatever is under way, it is a breach.
func (r *run) repairTwice(ctx context.Context, _ client.Client, _ string, _ fault) (undo, error) {
	var errs [2]error
	var reports [2]audit.Report
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			out, err := r.command(ctx, slices.Concat([]string{"audit", "--repair", "-o", "json", "--namespace", r.namespace, "--address", r.server}, r.Flags)...)
			var ended *exec.ExitError
			if err == nil || errors.As(err, &ended) && ended.ExitCode() == exit.Breach {
				err = json.Unmarshal(out, &reports[i])
			}
			errs[i] = err
		})
	}
	wg.Wait()
	for i := range reports {
		r.judge(&reports[i], false)
	}
	return nil, errors.Join(errs[:]...)
}

// changeRetention changes how long orders that have ended are kept, and changes it back.
func (r *run) changeRetention(ctx context.Context, conn client.Client, _ string, f fault) (undo, error) {
	described, err := conn.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: r.namespace})
	if err != nil {
		return nil, err
	}
	before := described.GetConfig().GetWorkflowExecutionRetentionTtl()
	if r.Cluster != nil || r.undoing.Load() > 0 {
		return nil, nil // it is not the run's, or may be changed already
	}
	set := func(ctx context.Context, conn client.Client, ttl *durationpb.Duration) error {
		_, err := conn.WorkflowService().UpdateNamespace(ctx, &workflowservice.UpdateNamespaceRequest{
			Namespace: r.namespace, Config: &namespacepb.NamespaceConfig{WorkflowExecutionRetentionTtl: ttl}})
		return err
	}
	err = set(ctx, conn, durationpb.New(before.AsDuration()+24*time.Hour))
	return func(ctx context.Context, conn client.Client) error { return set(ctx, conn, before) }, err
}
