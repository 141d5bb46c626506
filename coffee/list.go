package coffee

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"
)

// ListOptions select the orders that [Client.List] returns.
type ListOptions struct {
	// Limit is the largest number of orders to return; 0 means [DefaultListLimit].
	Limit int
	// Status, unless empty, selects the orders with this status.
	Status OrderStatus
	// Brief leaves out the details that need a request for each order; see
	// [Client.AddDetails].
	Brief bool
}

// DefaultListLimit is how many orders a list has by default.
const DefaultListLimit = 20

// ErrNotIndexed means that the server cannot find orders by how they ended.
var ErrNotIndexed = errors.New("the server has no search attribute " + SearchAttributeStatus)

// List returns orders, newest first. The server selects them: first the running
// ones, then those that ended most recently. List returns [ErrNotIndexed] if it is
// asked for a status other than RUNNING and the server has no search attribute.
func (c *Client) List(ctx context.Context, options ListOptions) ([]OrderView, error) {
	limit := options.Limit
	if limit <= 0 {
		limit = DefaultListLimit
	}
	var views []OrderView
	var token []byte
	for len(views) < limit {
		page, err := c.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace:     c.namespace,
			Query:         statusQuery(options.Status),
			PageSize:      int32(min(limit-len(views), 1000)),
			NextPageToken: token,
		})
		var invalid *serviceerror.InvalidArgument
		if errors.As(err, &invalid) && options.Status != "" && options.Status != StatusRunning {
			return nil, fmt.Errorf("%w: %w", ErrNotIndexed, err)
		}
		if err != nil {
			return nil, err
		}
		for _, info := range page.GetExecutions() {
			views = append(views, viewOf(info))
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			break
		}
	}
	if !options.Brief {
		if err := c.AddDetails(ctx, views); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(views, func(a, b OrderView) int { return cmp.Compare(b.StartedAt.UnixNano(), a.StartedAt.UnixNano()) })
	return views, nil
}

// FindCharged returns the id of an order that was charged; empty if no order was.
// It reads histories in the server's order: first the running orders, then those
// that ended most recently.
func (c *Client) FindCharged(ctx context.Context) (orderID string, err error) {
	var token []byte
	for {
		page, err := c.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace:     c.namespace,
			Query:         statusQuery(""),
			PageSize:      100,
			NextPageToken: token,
		})
		if err != nil {
			return "", err
		}
		for _, info := range page.GetExecutions() {
			view := viewOf(info)
			if err := c.readHistory(ctx, &view, info.GetExecution()); err != nil && !errors.Is(err, ErrNotFound) {
				return "", err
			}
			if view.Charged {
				return view.OrderID, nil
			}
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			return "", nil
		}
	}
}

// statusQuery returns the visibility query for the orders with a status; empty
// means all. Nothing in the query comes from a user.
func statusQuery(status OrderStatus) string {
	query := "WorkflowType = '" + WorkflowType + "'"
	byAttribute := SearchAttributeStatus + " = '" + string(status) + "'"
	switch status {
	case StatusRunning:
		return query + " AND ExecutionStatus = 'Running'"
	case StatusCompleted:
		return query + " AND " + byAttribute
	case StatusFailed:
		return query + " AND (" + byAttribute + " OR ExecutionStatus = 'Failed' OR ExecutionStatus = 'Terminated' OR ExecutionStatus = 'TimedOut')"
	case StatusCancelled:
		return query + " AND (" + byAttribute + " OR ExecutionStatus = 'Canceled')"
	}
	return query
}

// AddDetails looks up what a brief list lacks: the stage of running orders, and the
// outcome of orders that ended on a server without the search attribute.
func (c *Client) AddDetails(ctx context.Context, views []OrderView) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i := range views {
		view := &views[i]
		if view.Status != "" && view.Status != StatusRunning {
			continue
		}
		group.Go(func() error {
			described, err := c.temporal.DescribeWorkflowExecution(ctx, WorkflowID(view.OrderID), view.RunID)
			if errors.Is(notFound(view.OrderID, err), ErrNotFound) { // gone in the meantime
				return nil
			}
			if err != nil {
				return err
			}
			if view.Status == StatusRunning {
				view.addPending(described)
				return nil
			}
			return c.readHistory(ctx, view, described.GetWorkflowExecutionInfo().GetExecution())
		})
	}
	return group.Wait()
}
