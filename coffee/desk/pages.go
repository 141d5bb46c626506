package desk

import (
	"context"
	"errors"
	"iter"
	"math"

	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// Every list and every history is read here. Neither trusts the server to come to an end.

// noLimit is a limit that nothing reaches.
const noLimit = math.MaxInt

// Executions iterates over the runs of workflows that a query finds, in the server's
// order: first those that run, then those that ended most recently. It ends after an
// error, and after limit runs; 0 means all. It asks the server for up to page runs at once.
func (c *Client) Executions(ctx context.Context, query string, limit, page int) iter.Seq2[*workflowpb.WorkflowExecutionInfo, error] {
	if limit <= 0 {
		limit = noLimit
	}
	return func(yield func(*workflowpb.WorkflowExecutionInfo, error) bool) {
		var token []byte
		seen := map[string]bool{}
		for left := limit; left > 0; {
			list, err := c.Temporal().ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
				Namespace:     c.Namespace(),
				Query:         query,
				PageSize:      int32(min(left, page)),
				NextPageToken: token,
			})
			if err != nil {
				yield(nil, err)
				return
			}
			left -= len(list.GetExecutions())
			for _, info := range list.GetExecutions() {
				if !yield(info, nil) {
					return
				}
			}
			if token = list.GetNextPageToken(); len(token) == 0 {
				return
			}
			if len(list.GetExecutions()) == 0 || seen[string(token)] {
				yield(nil, errors.New("the server's list of workflows has no end"))
				return
			}
			seen[string(token)] = true
		}
	}
}
