package devservertest

import (
	"context"
	"strings"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"example.com/coffee/timeline"
)

// mostReported is how many workflows are reported.
const mostReported = 10

// report logs the timelines of the workflows that have not ended.
func (s *Server) report() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := s.Client()
	open, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: "ExecutionStatus = 'Running'"})
	if err != nil {
		s.t.Logf("which workflows have not ended is not known: %v", err)
		return
	}
	for i, info := range open.GetExecutions() {
		if i == mostReported {
			s.t.Logf("and others have not ended")
			return
		}
		id := info.GetExecution()
		history, err := timeline.Fetch(ctx, c, id.GetWorkflowId(), id.GetRunId())
		if err != nil {
			s.t.Logf("the workflow %s has not ended, and its history cannot be read: %v", id.GetWorkflowId(), err)
			continue
		}
		var drawn strings.Builder
		_ = timeline.New(history).WriteText(&drawn, timeline.TextOptions{}) // a Builder does not fail
		s.t.Logf("this workflow has not ended:\n%s", drawn.String())
	}
}
