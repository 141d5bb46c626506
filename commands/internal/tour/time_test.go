package tour

import (
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"
)

// The test.
func remindNextMonth(ctx workflow.Context) error {
	return workflow.Sleep(ctx, 30*24*time.Hour)
}

func TestRemindNextMonth(t *testing.T) {
	env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
	env.ExecuteWorkflow(remindNextMonth)
	if err := env.GetWorkflowError(); err != nil {
		t.Error(err)
	}
}
