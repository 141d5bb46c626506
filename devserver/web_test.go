package devserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
)

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// TestPagesOfOthers checks what a page of another site, open in the user's
// browser, can make the server do, and what it can read.
func TestPagesOfOthers(t *testing.T) {
	t.Parallel()
	httpPort, metricsPort := freePort(t), freePort(t)
	server := start(t, Options{HTTPPort: httpPort, MetricsPort: metricsPort, UI: true})
	const start = "/api/v1/namespaces/default/workflows/evil"
	body := `{"workflowType": {"name": "any"}, "taskQueue": {"name": "any"}}`
	for name, test := range map[string]struct {
		url    string
		method string
		header map[string]string
		host   string
		want   int
	}{
		"a page of another site starts a workflow":       {server.HTTPURL() + start, "POST", map[string]string{"Origin": "http://evil.com", "Content-Type": "text/plain"}, "", 403},
		"the same, as browsers of today say it":          {server.HTTPURL() + start, "POST", map[string]string{"Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}, "", 403},
		"and from another port":                          {server.HTTPURL() + start, "POST", map[string]string{"Origin": "http://127.0.0.1:1"}, "", 403},
		"and terminates one":                             {server.HTTPURL() + start + "/terminate", "POST", map[string]string{"Origin": "http://evil.com", "Content-Type": "text/plain"}, "", 403},
		"a page by another name reads from the HTTP API": {server.HTTPURL() + "/api/v1/cluster-info", "GET", nil, "evil.example.com", 403},
		"and from the metrics":                           {server.MetricsURL(), "GET", nil, "evil.example.com:9090", 403},
		"and from the Web UI":                            {server.UIURL() + "/api/v1/settings", "GET", nil, "evil.example.com", 403},
		"a program reads from the HTTP API":              {server.HTTPURL() + "/api/v1/cluster-info", "GET", nil, "", 200},
		"a program reads the metrics":                    {server.MetricsURL(), "GET", nil, "", 200},
		"and by name":                                    {strings.Replace(server.MetricsURL(), "127.0.0.1", "localhost", 1), "GET", nil, "", 200},
		"and starts a workflow":                          {server.HTTPURL() + start + "2", "POST", map[string]string{"Content-Type": "application/json"}, "", 200},
	} {
		request, err := http.NewRequest(test.method, test.url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Host = test.host
		for key, value := range test.header {
			request.Header.Set(key, value)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != test.want {
			t.Errorf("%s: got %s, %v:\n%.500s", name, response.Status, err, said)
		}
		if strings.Contains(test.url, "/metrics") && test.want == 200 && !bytes.Contains(said, []byte("service_requests")) {
			t.Errorf("%s: got %.500s", name, said)
		}
	}
	list, err := workflowservice.NewWorkflowServiceClient(dial(t, server)).CountWorkflowExecutions(context.Background(),
		&workflowservice.CountWorkflowExecutionsRequest{Namespace: "default", Query: "WorkflowId = 'evil'"})
	if err != nil || list.GetCount() != 0 {
		t.Errorf("%d workflows were started, %v", list.GetCount(), err)
	}
	for name, served := range map[string]*http.Server{"Web UI": server.ui, "metrics": server.metrics} {
		if served.ReadHeaderTimeout == 0 || served.ReadTimeout == 0 || served.IdleTimeout == 0 {
			t.Errorf("a connection to the %s can stay for ever without a word", name)
		}
	}
	if server.metrics.WriteTimeout == 0 || server.ui.WriteTimeout != 0 {
		t.Error("the metrics, and no page of the Web UI, have a limit on how long an answer takes")
	}
	dir := server.metricsDir.Path()
	if err := server.Stop(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(dir + "*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := os.Stat(fmt.Sprint(dir, "/socket")); err == nil {
		t.Error("the socket is still there")
	}
}

// TestMetricTypes: whatever types of workflows clients invent, the metrics have labels for
// those that the user named.
func TestMetricTypes(t *testing.T) {
	t.Parallel()
	server := start(t, Options{MetricsPort: freePort(t), MetricTypes: []string{"ours"}})
	service := workflowservice.NewWorkflowServiceClient(dial(t, server))
	for _, name := range []string{"ours", "invented"} {
		_, err := service.StartWorkflowExecution(context.Background(), &workflowservice.StartWorkflowExecutionRequest{
			Namespace: "default", WorkflowId: name, RequestId: name, WorkflowType: &commonpb.WorkflowType{Name: name}, TaskQueue: &taskqueuepb.TaskQueue{Name: "any"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = service.TerminateWorkflowExecution(context.Background(), &workflowservice.TerminateWorkflowExecutionRequest{
			Namespace: "default", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: name},
		}); err != nil {
			t.Fatal(err)
		}
	}
	response, err := http.Get(server.MetricsURL())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	said, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]bool{`workflowType="ours"`: true, `workflowType="_tag_excluded_"`: true, "invented": false} {
		if bytes.Contains(said, []byte(label)) != want {
			t.Errorf("%s: got %v, want %v", label, !want, want)
		}
	}
}

// TestUI: the Web UI can be served below a path by a proxy, and be another one.
func TestUI(t *testing.T) {
	t.Parallel()
	own := t.TempDir()
	if err := os.WriteFile(filepath.Join(own, "index.html"), []byte(`another one, base: ""`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		options    Options
		path, want string
	}{
		"a path":               {Options{UI: true, UIPublicPath: "/temporal"}, "/temporal/", `base: "/temporal"`},
		"the API below a path": {Options{UI: true, UIPublicPath: "/temporal"}, "/temporal/api/v1/namespaces", `"default"`},
		"another UI":           {Options{UI: true, UIAssets: own}, "/", "another one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			response, err := http.Get(start(t, test.options).UIURL() + test.path)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			said, err := io.ReadAll(response.Body)
			if err != nil || !strings.Contains(string(said), test.want) {
				t.Errorf("%s: got %s, %v:\n%.300s", test.path, response.Status, err, said)
			}
		})
	}
	server, err := Start(context.Background(), Options{UI: true, UIAssets: filepath.Join(own, "nowhere")})
	if err == nil {
		t.Error("a Web UI without files was served", server.Stop())
	}
}

// TestSlash: Temporal's HTTP API cannot reach a workflow whose id has a slash, in either
// spelling; the Web UI can.
func TestSlash(t *testing.T) {
	t.Parallel()
	server := start(t, Options{HTTPPort: freePort(t), UI: true})
	if _, err := workflowservice.NewWorkflowServiceClient(dial(t, server)).StartWorkflowExecution(t.Context(), &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "default", WorkflowId: "a/b", WorkflowType: &commonpb.WorkflowType{Name: "any"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "any"}, RequestId: "1",
	}); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]int{
		server.HTTPURL() + "/api/v1/namespaces/default/workflows/a%2Fb": 404,
		server.HTTPURL() + "/api/v1/namespaces/default/workflows/a/b":   404,
		server.UIURL() + "/api/v1/namespaces/default/workflows/a%2Fb":   200,
	} {
		response, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != want || want == 200 && !bytes.Contains(said, []byte(`"a/b"`)) {
			t.Errorf("%s: %s, %v:\n%.500s", url, response.Status, err, said)
		}
	}
}
