package commands

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// TestStartDev: the SDK's own kit for tests starts this program as it starts the Temporal
// CLI, and runs a workflow on it.
func TestStartDev(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "coffee") // the name by which TestMain knows it
	if err := os.Symlink(executable, path); err != nil {
		t.Fatal(err)
	}
	server, err := testsuite.StartDevServer(ctx, testsuite.DevServerOptions{
		ExistingPath: path, ClientOptions: &client.Options{Namespace: "kit"}, EnableUI: true, LogFormat: "pretty", LogLevel: "warn",
		Stdout: t.Output(), Stderr: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	w := worker.New(server.Client(), "kit", worker.Options{})
	hello := func(_ workflow.Context, name string) (string, error) { return "hello " + name, nil }
	w.RegisterWorkflowWithOptions(hello, workflow.RegisterOptions{Name: "hello"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	run, err := server.Client().ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: "kit"}, "hello", "kit")
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if err := run.Get(ctx, &got); err != nil || got != "hello kit" {
		t.Errorf("got %q, %v", got, err)
	}
}
