package devserver_test

import (
	"testing"

	"go.temporal.io/sdk/testsuite"
)

// TestGreeting tests the smallest service's workflow without a server.
func TestGreeting(t *testing.T) {
	env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
	env.RegisterActivity(sayHello)
	env.ExecuteWorkflow(greetLater, "you")
	var got string
	if err := env.GetWorkflowResult(&got); err != nil || got != "hello you" {
		t.Errorf("%q, %v", got, err)
	}
}
