package devserver

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// TestNothingListens: a server for this process alone does what its clients ask, and nothing
// listens at its address. Its namespaces are those that it was given.
func TestNothingListens(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.db")
	server, _ := startTalking(t, Options{InProcess: true, DatabaseFile: file, Namespaces: []string{"north shop", "a"}})
	if conn, err := net.Dial("tcp", server.Address()); err == nil {
		t.Errorf("something listens on %s", server.Address())
		conn.Close()
	}
	c, err := client.Dial(server.ClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "x", TaskQueue: "q"}, "any")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.DescribeWorkflowExecution(t.Context(), "x", run.GetRunID()); err != nil {
		t.Error(err)
	}
	if _, err := c.WorkflowService().ListWorkflowExecutions(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Namespace: "a"}); err != nil {
		t.Error(err)
	}
	if names, err := ReadNamespaces(t.Context(), file); err != nil || strings.Join(names, ",") != "a,north shop" {
		t.Errorf("the namespaces are %q, %v", names, err)
	}
	for _, options := range []Options{{InProcess: true, UI: true}, {InProcess: true, HTTPPort: 1}} {
		if _, err := Start(context.Background(), options); err == nil || !strings.Contains(err.Error(), "leave them out") {
			t.Errorf("got %v", err)
		}
	}
}
