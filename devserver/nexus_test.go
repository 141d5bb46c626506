package devserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nexus-rpc/sdk-go/nexus"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	nexuspb "go.temporal.io/api/nexus/v1"
	"go.temporal.io/api/operatorservice/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporalnexus"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.temporal.io/server/components/callbacks"
	queuescommon "go.temporal.io/server/service/history/queues/common"
)

const nexusQueue = "nexus"

// repeat answers at once; order is a workflow that waits for a signal.
var (
	repeat = nexus.NewSyncOperation("repeat", func(_ context.Context, in string, _ nexus.StartOperationOptions) (string, error) {
		return in, nil
	})
	order = temporalnexus.NewWorkflowRunOperation("order", waits, func(_ context.Context, in string, _ nexus.StartOperationOptions) (client.StartWorkflowOptions, error) {
		return client.StartWorkflowOptions{ID: in, TaskQueue: nexusQueue}, nil
	})
)

func waits(ctx workflow.Context, in string) (string, error) {
	workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil)
	return in + " is done", nil
}

// calls calls an operation of an endpoint.
func calls(ctx workflow.Context, endpoint, operation, in string) (out string, err error) {
	err = workflow.NewNexusClient(endpoint, "kitchen").ExecuteOperation(ctx, operation, in, workflow.NexusOperationOptions{}).Get(ctx, &out)
	return out, err
}

// kitchen starts a worker that calls and serves Nexus operations.
func kitchen(t *testing.T, c client.Client) {
	t.Helper()
	service := nexus.NewService("kitchen")
	service.MustRegister(repeat, order)
	w := worker.New(c, nexusQueue, worker.Options{})
	w.RegisterWorkflow(waits)
	w.RegisterWorkflow(calls)
	w.RegisterNexusService(service)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

// connect connects a client that is closed at the end of the test.
func connect(t *testing.T, options client.Options) client.Client {
	t.Helper()
	c, err := client.Dial(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func createEndpoint(t *testing.T, c client.Client, name string, target *nexuspb.EndpointTarget) {
	t.Helper()
	_, err := c.OperatorService().CreateNexusEndpoint(context.Background(), &operatorservice.CreateNexusEndpointRequest{Spec: &nexuspb.EndpointSpec{Name: name, Target: target}})
	if err != nil {
		t.Fatal(err)
	}
}

func workerTarget() *nexuspb.EndpointTarget {
	return &nexuspb.EndpointTarget{Variant: &nexuspb.EndpointTarget_Worker_{Worker: &nexuspb.EndpointTarget_Worker{Namespace: "default", TaskQueue: nexusQueue}}}
}

func externalTarget(url string) *nexuspb.EndpointTarget {
	return &nexuspb.EndpointTarget{Variant: &nexuspb.EndpointTarget_External_{External: &nexuspb.EndpointTarget_External{Url: url}}}
}

// call starts a workflow that calls an operation. If a server is lost with one of its tasks,
// that is soon given up.
func call(t *testing.T, c client.Client, endpoint, operation, in string) client.WorkflowRun {
	t.Helper()
	run, err := c.ExecuteWorkflow(context.Background(), client.StartWorkflowOptions{ID: "calls " + operation, TaskQueue: nexusQueue, WorkflowTaskTimeout: time.Second}, calls, endpoint, operation, in)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func wantResult(t *testing.T, run client.WorkflowRun, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var got string
	if err := run.Get(ctx, &got); err != nil || got != want {
		t.Errorf("%s: got %q, %v, want %q", run.GetID(), got, err, want)
	}
}

// hasStarted waits until an operation that a workflow called has been started.
func hasStarted(t *testing.T, c client.Client, run client.WorkflowRun) {
	t.Helper()
	eventually(t, "the operation is started", func() (bool, error) {
		for events := c.GetWorkflowHistory(context.Background(), run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
			event, err := events.Next()
			if err != nil || event.GetEventType() == enumspb.EVENT_TYPE_NEXUS_OPERATION_STARTED {
				return err == nil, err
			}
		}
		return false, nil
	})
}

// ownCertificate writes a certificate that is the authority's, the server's and the clients'.
func ownCertificate(t *testing.T) *TLSFiles {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{serverName}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	crt, secret := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	if err := errors.Join(
		os.WriteFile(crt, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o600),
		os.WriteFile(secret, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	return &TLSFiles{CA: crt, Server: crt, ServerKey: secret, Client: crt, ClientKey: secret}
}

// TestNexus: operations work with the default options, whatever the database is and
// however the client came.
func TestNexus(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]Options{"memory": {}, "file": {DatabaseFile: "x.db"}, "in process": {InProcess: true}, "beside an HTTP API": {HTTPPort: 1}, "with certificates": {HTTPPort: 1, TLS: ownCertificate(t)}} {
		for way, clientOptions := range waysIn {
			if options.InProcess && way == "socket" {
				continue
			}
			t.Run(name+", "+way, func(t *testing.T) {
				t.Parallel()
				options := options
				if options.DatabaseFile != "" {
					options.DatabaseFile = filepath.Join(t.TempDir(), options.DatabaseFile)
				}
				if options.HTTPPort != 0 {
					options.HTTPPort = freePort(t)
				}
				server, _ := startTalking(t, options)
				asks := clientOptions(server)
				if way == "socket" {
					asks.ConnectionOptions.TLS = server.security.clientTLS()
				}
				c := connect(t, asks)
				createEndpoint(t, c, "kitchen", workerTarget())
				kitchen(t, c)
				wantResult(t, call(t, c, "kitchen", "repeat", "hello"), "hello")
				run := call(t, c, "kitchen", "order", "latte")
				hasStarted(t, c, run)
				if err := c.SignalWorkflow(context.Background(), "latte", "", "go", nil); err != nil {
					t.Fatal(err)
				}
				wantResult(t, run, "latte is done")
			})
		}
	}
}

// TestNexusThroughAPowerFailure: whoever has been told that an operation has started will
// be told its result, whatever happens to the server in between.
func TestNexusThroughAPowerFailure(t *testing.T) {
	t.Parallel()
	server, d := startOnDisk(t, Options{})
	c := connect(t, waysIn["socket"](server))
	createEndpoint(t, c, "kitchen", workerTarget())
	kitchen(t, c)
	run := call(t, c, "kitchen", "order", "latte")
	hasStarted(t, c, run)

	restored, _ := startTalking(t, Options{DatabaseFile: d.restore(t)})
	c = connect(t, waysIn["socket"](restored))
	kitchen(t, c)
	if err := c.SignalWorkflow(context.Background(), "latte", "", "go", nil); err != nil {
		t.Fatal(err)
	}
	wantResult(t, c.GetWorkflow(context.Background(), run.GetID(), run.GetRunID()), "latte is done")
}

// TestNexusOutside: endpoints and callbacks outside the server are called, and an endpoint
// can report the end of what it has started.
func TestNexusOutside(t *testing.T) {
	t.Parallel()
	requests := make(chan *http.Request, 8)
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		requests <- r
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/kitchen/later" {
			w.WriteHeader(http.StatusCreated)
			body = []byte(`{"token": "a token", "state": "running"}`)
		}
		w.Write(body)
	}))
	t.Cleanup(outside.Close)
	wantRequest := func(want string) (got *http.Request) {
		t.Helper()
		select {
		case got = <-requests:
			if got.URL.Path != want {
				t.Errorf("requested: %s, want %s", got.URL.Path, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s was not requested", want)
		}
		return got
	}
	server, _ := startTalking(t, Options{DatabaseFile: filepath.Join(t.TempDir(), "x.db"), HTTPPort: freePort(t),
		DynamicConfig: map[string]any{"callback.allowedAddresses": []any{map[string]any{"Pattern": "*", "AllowInsecure": true}}}})
	c := connect(t, waysIn["socket"](server))
	createEndpoint(t, c, "outside", externalTarget(outside.URL))
	kitchen(t, c)
	run := call(t, c, "outside", "repeat", "hello")
	wantRequest("/kitchen/repeat")
	wantResult(t, run, "hello")

	run = call(t, c, "outside", "later", "")
	started := wantRequest("/kitchen/later")
	hasStarted(t, c, run)
	completion, err := http.NewRequest("POST", started.URL.Query().Get("callback"), strings.NewReader(`"at last"`))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range started.Header {
		if name, ok := strings.CutPrefix(name, "Nexus-Callback-"); ok {
			completion.Header[name] = values
		}
	}
	completion.Header.Set("Content-Type", "application/json")
	completion.Header.Set("Nexus-Operation-State", "succeeded")
	response, err := http.DefaultClient.Do(completion)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the completion: %s", response.Status)
	}
	wantResult(t, run, "at last")

	_, err = c.WorkflowService().StartWorkflowExecution(context.Background(), &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "default", WorkflowId: "calls back", RequestId: "calls back", WorkflowType: &commonpb.WorkflowType{Name: "waits"}, TaskQueue: &taskqueuepb.TaskQueue{Name: nexusQueue},
		CompletionCallbacks: []*commonpb.Callback{{Variant: &commonpb.Callback_Nexus_{Nexus: &commonpb.Callback_Nexus{Url: outside.URL + "/done"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SignalWorkflow(context.Background(), "calls back", "", "go", nil); err != nil {
		t.Fatal(err)
	}
	wantRequest("/done")
}

// reply returns a function that leaves when a handler has replied with success.
func reply(s *syncer, write func(http.ResponseWriter), leave func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		recorder := httptest.NewRecorder()
		s.beforeResponse(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { write(w) })).ServeHTTP(recorder, r)
		if recorder.Code != http.StatusOK {
			return nil, errors.New(recorder.Result().Status)
		}
		return leave(r)
	}
}

// TestNothingLeavesUnsynced: what was written before something leaves the server by HTTP is
// on the disk by then. If it cannot be, nothing leaves.
func TestNothingLeavesUnsynced(t *testing.T) {
	t.Parallel()
	for _, broken := range []bool{false, true} {
		syncs := 0
		s, writes, _ := fakeSyncer(t, func() error {
			syncs++
			if broken {
				return errors.New("the disk is broken")
			}
			return nil
		})
		left := 0
		leave := func(*http.Request) (*http.Response, error) {
			if left++; syncs != left {
				t.Errorf("%d syncs before %d have left", syncs, left)
			}
			return nil, nil
		}
		to := queuescommon.NamespaceIDAndDestination{}
		for name, send := range map[string]func(*http.Request) (*http.Response, error){
			"operation":   s.beforeOperation(func(string, string) http.RoundTripper { return roundTripper(leave) })("", "").RoundTrip,
			"callback":    beforeCallback[callbacks.HTTPCallerProvider](s)(func(queuescommon.NamespaceIDAndDestination) callbacks.HTTPCaller { return leave })(to),
			"reply":       reply(s, func(w http.ResponseWriter) { w.Write([]byte("done")) }, leave),
			"empty reply": reply(s, func(http.ResponseWriter) {}, leave),
		} {
			writes.commit()
			_, err := send(httptest.NewRequest("POST", "http://outside", nil))
			if (err != nil) != broken {
				t.Errorf("%s: the disk is broken is %v, and the error is %v", name, broken, err)
			}
		}
		if want := 4; !broken && (left != want || syncs != want) {
			t.Errorf("%d have left, and there were %d syncs", left, syncs)
		}
	}
}
