package commands

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/urfave/cli/v2"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/commands/internal/app"
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

// planned returns what coffee server would do with some arguments.
func planned(t *testing.T, args ...string) (plan serverPlan) {
	t.Helper()
	a := app.New(t.Output(), t.Output(), app.Options{})
	command := serverCommand(a)
	command.Action = func(c *cli.Context) (err error) {
		plan, err = parseServer(c)
		return err
	}
	if err := (&cli.App{Commands: []*cli.Command{command}}).Run(append([]string{"coffee", "server"}, args...)); err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestStartDevIsForAll: as start-dev the server keeps nothing, and has nothing of coffee's
// in its way.
func TestStartDevIsForAll(t *testing.T) {
	t.Parallel()
	if plan := planned(t, "start-dev"); !plan.inMemory || plan.board || plan.server.MetricTypes != nil || !plan.server.UI {
		t.Errorf("start-dev: %+v", plan)
	}
	if plan := planned(t, "--board-port", "1", "--ip", "localhost", "start-dev"); !plan.board || plan.server.IP != "127.0.0.1" {
		t.Errorf("start-dev with a board: %+v", plan)
	}
	if plan := planned(t, "--ip", "[::1]"); plan.inMemory || !plan.board || plan.server.MetricTypes == nil || plan.server.IP != "::1" {
		t.Errorf("without the word: %+v", plan)
	}
	if plan := planned(t, "--in-memory", "--no-board"); plan.board || !plan.server.UI {
		t.Errorf("without a board: %+v", plan)
	}
	// The SDKs' own tests set what this version of the server does not have.
	set := planned(t, "--dynamic-config-value", "frontend.activityAPIsEnabled=true", "--dynamic-config-value", "frontend.rps=10", "start-dev").server.DynamicConfig
	if len(set) != 1 || set["frontend.rps"] != 10 {
		t.Errorf("start-dev with settings: %v", set)
	}
}

// TestRoomForAttributes: a server has the search attributes that its user asks for, and none
// of its own, so that there is room for ten of type Keyword.
func TestRoomForAttributes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 10} {
		args := []string{"--in-memory"}
		for i := range n {
			args = append(args, "--search-attribute", fmt.Sprint("K", i, "=keyword"))
		}
		kinds := planned(t, args...).server.SearchAttributes
		if len(kinds) != n || kinds["K0"] != enumspb.INDEXED_VALUE_TYPE_KEYWORD && n > 0 {
			t.Errorf("with %d attributes: %v", n, kinds)
		}
	}
}
