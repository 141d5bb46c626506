package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"golang.org/x/sync/errgroup"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/internal/text"
)

// run is one run of a workflow.
type run struct {
	execution *commonpb.WorkflowExecution
	startedAt time.Time
	ended     bool
}

func runOf(info *workflowpb.WorkflowExecutionInfo) run {
	return run{info.GetExecution(), info.GetStartTime().AsTime(), info.GetCloseTime() != nil}
}

// unread is why an order cannot be read.
type unread struct {
	err   *coffee.UnreadableError
	ended bool
}

// problem says in one line what is wrong with it.
func (u *unread) problem() string { return oneLine(u.err.Err.Error()) }

// readOrders reads the history of every order that the server lists.
func (a *auditor) readOrders(ctx context.Context) error {
	var runs []run
	listed := map[string]bool{}
	for info, err := range a.orders.Executions(ctx, "WorkflowType = '"+coffee.WorkflowType+"'", 0, 1000) {
		if err != nil {
			return err
		}
		// A run that ends between two pages can be on both.
		if id := info.GetExecution().GetRunId(); !listed[id] {
			listed[id] = true
			runs = append(runs, runOf(info))
		}
	}
	return a.readRuns(ctx, runs)
}

// readMissing reads the orders that should be known and have not been read yet: those that
// were acknowledged, and those with recent rows. The server's list of workflows lags a
// little, so it asks for them by id. It skips ids without an order. It keeps the rows of
// the orders that are known.
func (a *auditor) readMissing(ctx context.Context) error {
	wanted := map[string]bool{}
	for _, id := range a.Acknowledged {
		wanted[id] = true
	}
	oldest := time.Now().Add(-a.keep)
	err := a.Book.each(ctx, func(id string, rows []Row) error {
		known := len(a.stories[coffee.WorkflowID(id)]) > 0
		if !known && slices.ContainsFunc(rows, func(row Row) bool { return a.keep <= 0 || row.RecordedAt.After(oldest) }) {
			wanted[id] = true
		}
		if known || wanted[id] {
			a.rows = append(a.rows, rows...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var runs []run
	for _, id := range slices.Sorted(maps.Keys(wanted)) {
		if workflowID := coffee.WorkflowID(id); len(a.stories[workflowID]) > 0 || a.unreadable[workflowID] != nil {
			continue
		}
		current, err := a.currentRun(ctx, id)
		if err != nil {
			return err
		}
		if current != nil {
			runs = append(runs, *current)
		}
	}
	return a.readRuns(ctx, runs)
}

// currentRun returns the latest run of an order; nil if there is no such order.
func (a *auditor) currentRun(ctx context.Context, id string) (*run, error) {
	described, err := a.orders.Lookup(ctx, id, "")
	var invalid *serviceerror.InvalidArgument // no workflow can have such an id
	if errors.Is(err, coffee.ErrNotFound) || errors.As(err, &invalid) {
		return nil, nil
	}
	if err = desk.Unreadable(id, err); a.leaveOut(coffee.WorkflowID(id), err, false) {
		return nil, nil
	}
	info := described.GetWorkflowExecutionInfo()
	if err != nil || info.GetType().GetName() != coffee.WorkflowType {
		return nil, err
	}
	current := runOf(info)
	return &current, nil
}

// leaveOut reports whether an error is about one order alone. If it is, the audit goes on
// without that order: what can be read of it, such as an earlier run, is not all.
func (a *auditor) leaveOut(workflowID string, err error, ended bool) bool {
	var one *coffee.UnreadableError
	if !errors.As(err, &one) {
		return false
	}
	a.unreadable[workflowID] = &unread{one, ended}
	return true
}

// readRuns reads and replays the histories of some runs.
func (a *auditor) readRuns(ctx context.Context, runs []run) error {
	a.known += len(runs)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, r := range runs {
		group.Go(func() error {
			workflowID := r.execution.GetWorkflowId()
			s, err := a.readRun(ctx, r)
			a.mu.Lock()
			defer a.mu.Unlock()
			if err != nil && !a.leaveOut(workflowID, err, r.ended) {
				return fmt.Errorf("cannot read the history of %s: %w", text.Printable(workflowID), err)
			}
			a.read++
			if s != nil {
				a.stories[workflowID] = append(a.stories[workflowID], s)
			}
			if a.Progress != nil {
				a.Progress(a.read, a.known)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for workflowID := range a.unreadable {
		delete(a.stories, workflowID)
	}
	return nil
}

// readRun reads and replays one history. It returns nil if the history was deleted
// meanwhile, and a [*coffee.UnreadableError] if it cannot be read.
func (a *auditor) readRun(ctx context.Context, r run) (*story, error) {
	history, err := a.orders.Run(ctx, r.execution)
	if errors.Is(err, coffee.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := readStory(r.execution, r.startedAt, history.Events)
	if err := a.Replay(history); err != nil {
		s.unreplayable = oneLine(err.Error())
	}
	return s, nil
}

// readAgain reads the runs of an order again, including the latest one, which may
// have begun meanwhile, and then its rows. Of one that cannot be read it reads only those.
func (a *auditor) readAgain(ctx context.Context, id string) (*file, error) {
	workflowID := coffee.WorkflowID(id)
	if a.unreadable[workflowID] == nil {
		current, err := a.currentRun(ctx, id)
		if err != nil {
			return nil, err
		}
		var runs []run
		for _, s := range a.stories[workflowID] {
			runs = append(runs, run{&commonpb.WorkflowExecution{WorkflowId: workflowID, RunId: s.runID}, s.startedAt, s.ended})
		}
		if current != nil && !slices.ContainsFunc(runs, func(r run) bool { return r.execution.GetRunId() == current.execution.GetRunId() }) {
			runs = append(runs, *current)
		}
		delete(a.stories, workflowID)
		if err := a.readRuns(ctx, runs); err != nil {
			return nil, err
		}
	}
	rows, err := a.Book.of(ctx, id)
	return a.file(id, rows), err
}
