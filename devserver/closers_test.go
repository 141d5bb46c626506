package devserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
)

// TestStopReleasesEverything checks that no goroutine is left and no file is open.
// It is not parallel, because other tests have goroutines as well.
func TestStopReleasesEverything(t *testing.T) {
	for name, options := range map[string]Options{
		"memory": {UI: true},
		"file":   {UI: true, DatabaseFile: filepath.Join(t.TempDir(), "server.db")},
	} {
		t.Run(name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			options.Namespaces = []string{"default", "another"}
			server, err := Start(context.Background(), options)
			if err != nil {
				t.Fatal(err)
			}
			useAll(t, server)
			if err := server.Stop(); err != nil {
				t.Error(err)
			}
			checkClosed(t, options.DatabaseFile)
		})
	}
}

// TestFailedStartReleasesEverything checks the same after a failed start, however
// far it got.
func TestFailedStartReleasesEverything(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "server.db")
	server, err := Start(context.Background(), Options{DatabaseFile: file, SearchAttributes: map[string]enumspb.IndexedValueType{"Table": enumspb.INDEXED_VALUE_TYPE_KEYWORD}})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	tooMany := map[string]enumspb.IndexedValueType{}
	for i := range 10 { // with the Table of the file one more than there is room for
		tooMany[fmt.Sprint("Keyword", i)] = enumspb.INDEXED_VALUE_TYPE_KEYWORD
	}
	for name, c := range map[string]struct {
		ctx     context.Context
		options Options
	}{
		"cancelled":        {cancelled, Options{}},
		"pragma":           {context.Background(), Options{SQLitePragmas: map[string]string{"synchronous": "1; nonsense"}}},
		"pragma on a file": {context.Background(), Options{DatabaseFile: file, SQLitePragmas: map[string]string{"synchronous": "1; nonsense"}}},
		"port":             {context.Background(), Options{UI: true, UIPort: taken.Addr().(*net.TCPAddr).Port}},
		"port, on a file":  {context.Background(), Options{UI: true, UIPort: taken.Addr().(*net.TCPAddr).Port, DatabaseFile: file}},
		// The server is already serving when it finds this.
		"too many search attributes": {context.Background(), Options{UI: true, DatabaseFile: file, SearchAttributes: tooMany}},
	} {
		t.Run(name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			if server, err := Start(c.ctx, c.options); err == nil {
				t.Error("it started", server.Stop())
			}
			checkClosed(t, file)
		})
	}
}

// TestOpenedTooLate: what a service opens while its server stops is closed as well, and a
// worker does not start.
func TestOpenedTooLate(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var c closers
	if err := c.closeAll(); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	if state := c.keepConnection(conn).GetState(); state != connectivity.Shutdown {
		t.Errorf("the connection is %v", state)
	}
	sdk, err := client.NewLazyClient(client.Options{HostPort: "127.0.0.1:1", Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.keepWorker(worker.New(sdk, "greetings", worker.Options{})).Start(); err == nil {
		t.Error("the worker started")
	}
	c.keepClient(sdk)
}

// useAll runs a workflow, and asks the Web UI for it.
func useAll(t *testing.T, server *Server) {
	t.Helper()
	ctx := context.Background()
	c, err := client.DialContext(ctx, client.Options{HostPort: server.Address(), Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := worker.New(c, "greetings", worker.Options{})
	w.RegisterWorkflowWithOptions(func(workflow.Context) (string, error) { return "hello", nil }, workflow.RegisterOptions{Name: "greet"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "greeting", TaskQueue: "greetings"}, "greet")
	if err == nil {
		err = run.Get(ctx, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Transport: &http.Transport{}}
	defer browser.CloseIdleConnections()
	response, err := browser.Get(server.UIURL() + "/api/v1/namespaces/default/workflows/greeting")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("the Web UI says %s %s, %v", response.Status, body, err)
	}
}

// checkClosed checks that this process has neither the file open nor what SQLite
// puts beside it. It sees that only on Linux.
func checkClosed(t *testing.T, file string) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			continue // closed meanwhile
		}
		for _, suffix := range []string{"", "-wal", "-shm", "-journal", ".lock"} {
			if file != "" && target == fmt.Sprint(file, suffix) {
				t.Errorf("%s is open", target)
			}
		}
	}
}
