package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	"example.com/coffee/coffee"
)

// run is one run of a workflow.
type run struct {
	execution *commonpb.WorkflowExecution
	startedAt time.Time
}

// readOrders reads the history of every order that the server lists.
func (a *auditor) readOrders(ctx context.Context) error {
	var runs []run
	listed := map[string]bool{}
	var token []byte
	for {
		page, err := a.Client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace:     a.Namespace,
			Query:         "WorkflowType = '" + coffee.WorkflowType + "'",
			PageSize:      1000,
			NextPageToken: token,
		})
		if err != nil {
			return err
		}
		for _, info := range page.GetExecutions() {
			// A run that ends between two pages can be on both.
			if id := info.GetExecution().GetRunId(); !listed[id] {
				listed[id] = true
				runs = append(runs, run{info.GetExecution(), info.GetStartTime().AsTime()})
			}
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			return a.readRuns(ctx, runs)
		}
	}
}

// readMissing reads the orders with these ids that have not been read yet. It skips
// ids without an order.
func (a *auditor) readMissing(ctx context.Context, ids []string) error {
	var runs []run
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if len(a.stories[coffee.WorkflowID(id)]) > 0 {
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
	described, err := a.Client.DescribeWorkflowExecution(ctx, coffee.WorkflowID(id), "")
	var notFound *serviceerror.NotFound
	var invalid *serviceerror.InvalidArgument
	if errors.As(err, &notFound) || errors.As(err, &invalid) { // no workflow can have such an id
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info := described.GetWorkflowExecutionInfo()
	if info.GetType().GetName() != coffee.WorkflowType {
		return nil, nil
	}
	return &run{info.GetExecution(), info.GetStartTime().AsTime()}, nil
}

// readRuns reads and replays the histories of some runs.
func (a *auditor) readRuns(ctx context.Context, runs []run) error {
	a.known += len(runs)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, r := range runs {
		group.Go(func() error {
			s, err := a.readRun(ctx, r)
			var unreadable *coffee.UnreadableError
			if err != nil && !errors.As(err, &unreadable) {
				return fmt.Errorf("cannot read the history of %s: %w", coffee.Printable(r.execution.GetWorkflowId()), err)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			a.read++
			if unreadable != nil {
				a.unreadable[r.execution.GetWorkflowId()] = unreadable.Problem
			}
			if s != nil {
				a.stories[s.workflowID] = append(a.stories[s.workflowID], s)
			}
			if a.Progress != nil {
				a.Progress(a.read, a.known)
			}
			return nil
		})
	}
	return group.Wait()
}

// readRun reads and replays one history. It returns nil if the history was deleted
// meanwhile, and a [*coffee.UnreadableError] if it is encrypted.
func (a *auditor) readRun(ctx context.Context, r run) (*story, error) {
	history := &historypb.History{}
	events := a.Client.GetWorkflowHistory(ctx, r.execution.GetWorkflowId(), r.execution.GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		var notFound *serviceerror.NotFound
		if errors.As(err, &notFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		history.Events = append(history.Events, event)
	}
	orderID := strings.TrimPrefix(r.execution.GetWorkflowId(), coffee.WorkflowID(""))
	if err := coffee.CheckReadable(orderID, history.GetEvents()); err != nil {
		return nil, err
	}
	s := readStory(r.execution, r.startedAt, history)
	if err := a.Replay(coffee.History{
		OrderID: orderID,
		RunID:   r.execution.GetRunId(),
		Events:  history.GetEvents(),
	}); err != nil {
		s.unreplayable = oneLine(err.Error())
	}
	return s, nil
}

// readAgain reads the runs of an order again, including the latest one, which may
// have begun meanwhile, and then its rows.
func (a *auditor) readAgain(ctx context.Context, f *file) (*file, error) {
	workflowID := coffee.WorkflowID(f.orderID)
	current, err := a.currentRun(ctx, f.orderID)
	if err != nil {
		return nil, err
	}
	var runs []run
	for _, s := range a.stories[workflowID] {
		runs = append(runs, run{&commonpb.WorkflowExecution{WorkflowId: workflowID, RunId: s.runID}, s.startedAt})
	}
	if current != nil && !slices.ContainsFunc(runs, func(r run) bool { return r.execution.GetRunId() == current.execution.GetRunId() }) {
		runs = append(runs, *current)
	}
	delete(a.stories, workflowID)
	if err := a.readRuns(ctx, runs); err != nil {
		return nil, err
	}
	rows, err := a.Book.of(ctx, f.orderID)
	if err != nil {
		return nil, err
	}
	return newFile(f.orderID, a.stories[workflowID], rows), nil
}
