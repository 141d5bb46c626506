package desk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/text"
)

// ListOptions select the orders that [Client.List] returns.
type ListOptions struct {
	// Limit is the largest number of orders to return; 0 means [DefaultListLimit].
	Limit int
	// Status, unless empty, selects the orders with this status.
	Status coffee.OrderStatus
	// Over selects the orders that are over, or paused.
	Over bool
	// Brief leaves out the details that need a request for each order; see
	// [Client.AddDetails].
	Brief bool
}

// DefaultListLimit is how many orders a list has by default.
const DefaultListLimit = 20

// ErrNotIndexed means that the server cannot find orders by how they ended.
var ErrNotIndexed = errors.New("the server has no search attribute " + coffee.SearchAttributeStatus)

// AttributeTypeError means that it cannot because its search attribute
// [coffee.SearchAttributeStatus] is not a Keyword. Orders end without it, and are listed without
// a status.
type AttributeTypeError struct {
	Type string // what it is
}

func (e *AttributeTypeError) Error() string {
	return "the search attribute " + coffee.SearchAttributeStatus + " of the server is of type " + e.Type + ", not Keyword"
}

// byAttribute reports whether the orders with a status are found with the search
// attribute.
func byAttribute(status coffee.OrderStatus) bool {
	return status != "" && status != coffee.StatusRunning
}

// List returns orders, newest first. The server selects them: first the running
// ones, then those that ended most recently. Of an order that was reset only the latest
// run counts. An order that cannot be read is among them, and says why. List returns
// [ErrNotIndexed] or an [*AttributeTypeError] if a status other than RUNNING is asked for,
// orders have ended, and the server does not have the search attribute.
func (c *Client) List(ctx context.Context, options ListOptions) ([]OrderView, error) {
	limit := cmp.Or(max(options.Limit, 0), DefaultListLimit)
	var views []OrderView
	latest := 0 // that many of them are known to be latest runs
	seen := map[string]bool{}
	if byAttribute(options.Status) {
		// A server that does not tell is asked for the orders all the same.
		if kind, err := attributeType(ctx, c.Temporal(), c.Namespace()); err == nil {
			if err := checkAttributeType(kind); err != nil {
				return nil, err
			}
		}
	}
	for info, err := range c.Executions(ctx, options.query(), 0, min(limit, 1000)) {
		var invalid *serviceerror.InvalidArgument
		if errors.As(err, &invalid) && byAttribute(options.Status) {
			if over, countErr := c.Count(ctx, ListOptions{Over: true}); countErr == nil && over == 0 {
				return nil, nil // the first worker adds the attribute, before it ends an order
			}
			return nil, fmt.Errorf("%w: %w", ErrNotIndexed, err)
		}
		if err != nil {
			return nil, err
		}
		if id := info.GetExecution().GetWorkflowId(); !seen[id] { // or it is an earlier run
			seen[id] = true
			views = append(views, viewOf(info))
		}
		if len(views) == limit {
			if views, err = c.dropEarlierRuns(ctx, views, latest, options.Status); err != nil {
				return nil, err
			}
			if latest = len(views); latest == limit {
				break
			}
		}
	}
	views, err := c.dropEarlierRuns(ctx, views, latest, options.Status)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(views, func(a, b OrderView) int { return cmp.Compare(b.StartedAt.UnixNano(), a.StartedAt.UnixNano()) })
	if !options.Brief {
		if err := c.AddDetails(ctx, views); err != nil {
			return nil, err
		}
	}
	return views, nil
}

// dropEarlierRuns leaves out, from index from on, the orders that were reset after they had
// ended with the status that was asked for: the server selects runs, and looks at each for
// itself.
func (c *Client) dropEarlierRuns(ctx context.Context, views []OrderView, from int, status coffee.OrderStatus) ([]OrderView, error) {
	if !byAttribute(status) {
		return views, nil // in the server's order the latest run comes first
	}
	var each []*OrderView
	for i := range views[from:] {
		each = append(each, &views[from+i])
	}
	err := c.describeEach(ctx, each, true, func(_ context.Context, view *OrderView, described *workflowservice.DescribeWorkflowExecutionResponse) error {
		if described.GetWorkflowExecutionInfo().GetExecution().GetRunId() != view.RunID {
			view.RunID = ""
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(views, func(view OrderView) bool { return view.RunID == "" }), nil
}

// Histories returns the histories of all orders that run, and then of those that ended
// most recently, over of them at most. One that cannot be read has an [*coffee.UnreadableError].
// After any other error there are no more.
func (c *Client) Histories(ctx context.Context, over int) iter.Seq2[History, error] {
	return func(yield func(History, error) bool) {
		seen := map[string]bool{} // runs that were running, and may have ended since
		for _, part := range []struct {
			query string
			limit int
		}{
			{StatusQuery(coffee.StatusRunning), 0},
			{StatusQuery("") + notRunning, over},
		} {
			for history, err := range c.HistoriesOf(ctx, part.query, part.limit) {
				if err != nil && !coffee.IsUnreadable(err) {
					yield(history, err)
					return
				}
				if !seen[history.RunID] && !yield(history, err) {
					return
				}
				seen[history.RunID] = true
			}
		}
	}
}

// HistoriesOf returns the histories of the workflows that a query finds, limit of them at
// most; 0 means all. Its errors are those of [Client.Histories].
func (c *Client) HistoriesOf(ctx context.Context, query string, limit int) iter.Seq2[History, error] {
	return func(yield func(History, error) bool) {
		for info, err := range c.Executions(ctx, query, limit, 1000) {
			if err != nil {
				yield(History{}, err)
				return
			}
			history, err := c.Run(ctx, info.GetExecution())
			if errors.Is(err, coffee.ErrNotFound) { // deleted meanwhile
				continue
			}
			if !yield(history, err) || err != nil && !coffee.IsUnreadable(err) {
				return
			}
		}
	}
}

// StatusQuery returns the visibility query for the orders with a status; empty
// means all. Nothing in the query comes from a user.
func StatusQuery(status coffee.OrderStatus) string {
	query := "WorkflowType = '" + coffee.WorkflowType + "'"
	byAttribute := coffee.SearchAttributeStatus + " = '" + string(status) + "'"
	switch status {
	case coffee.StatusRunning:
		return query + " AND ExecutionStatus = 'Running'"
	case coffee.StatusCompleted:
		return query + " AND " + byAttribute
	case coffee.StatusFailed:
		return query + " AND (" + byAttribute + " OR ExecutionStatus = 'Failed' OR ExecutionStatus = 'Terminated' OR ExecutionStatus = 'TimedOut')"
	case coffee.StatusCancelled:
		return query + " AND (" + byAttribute + " OR ExecutionStatus = 'Canceled')"
	}
	return query
}

// notRunning is what selects the orders that do not run, at the end of a query.
const notRunning = " AND ExecutionStatus != 'Running'"

// query returns the visibility query for the orders that the options select.
func (o ListOptions) query() string {
	if o.Over {
		return StatusQuery(o.Status) + notRunning
	}
	return StatusQuery(o.Status)
}

// Count returns how many orders the options select, without their limit. An order that
// was reset counts once for each of its runs.
func (c *Client) Count(ctx context.Context, options ListOptions) (int, error) {
	count, err := c.Temporal().CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: c.Namespace(), Query: options.query()})
	return int(count.GetCount()), err
}

// AddDetails looks up what a brief list lacks: the stage of running orders, and the
// outcome of orders that ended on a server without the search attribute.
func (c *Client) AddDetails(ctx context.Context, views []OrderView) error {
	var each []*OrderView
	for i := range views {
		if view := &views[i]; view.Status == "" || view.Status == coffee.StatusRunning {
			each = append(each, view)
		}
	}
	return c.describeEach(ctx, each, false, func(ctx context.Context, view *OrderView, described *workflowservice.DescribeWorkflowExecutionResponse) (err error) {
		// A workflow task that is tried again has failed: the history says why.
		if view.Status == "" || described.GetPendingWorkflowTask().GetAttempt() > 1 {
			err = c.readHistory(ctx, view, described.GetWorkflowExecutionInfo().GetExecution())
		}
		view.addPending(described)
		return err
	})
}

// describeEach calls use with the server's description of each order, or of its latest run,
// of eight at a time. It leaves out those that are gone in the meantime. One that cannot be
// read says so.
func (c *Client) describeEach(ctx context.Context, each []*OrderView, latest bool, use func(context.Context, *OrderView, *workflowservice.DescribeWorkflowExecutionResponse) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, view := range each {
		runID := view.RunID
		if latest {
			runID = ""
		}
		group.Go(func() error {
			described, err := c.Temporal().DescribeWorkflowExecution(ctx, view.workflowID(), runID)
			if err = Unreadable(view.OrderID, coffee.NotFound(view.OrderID, err)); err == nil {
				err = use(ctx, view, described)
			}
			var one *coffee.UnreadableError
			switch {
			case errors.Is(err, coffee.ErrNotFound):
				return nil
			case errors.As(err, &one):
				view.Unreadable = text.Plain(err.Error())
				return nil
			}
			return err
		})
	}
	return group.Wait()
}
