package commands

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/commands/internal/findings"
)

// collector receives traces, as an OpenTelemetry collector does.
type collector struct {
	mu    sync.Mutex
	spans []*tracepb.Span
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request v1.ExportTraceServiceRequest
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
}

// received returns the spans so far, by name.
func (c *collector) received() map[string][]*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	spans := map[string][]*tracepb.Span{}
	for _, span := range c.spans {
		spans[span.GetName()] = append(spans[span.GetName()], span)
	}
	return spans
}

// attributes returns those of a span that are texts or numbers, as JSON.
func attributes(span *tracepb.Span) map[string]string {
	all := map[string]string{}
	for _, a := range span.GetAttributes() {
		value, _ := json.Marshal(a.GetValue().GetValue())
		all[a.GetKey()] = string(value)
	}
	return all
}

// TestTrace: one trace goes from coffee order through the workflow, each attempt of an
// activity, and the statements of the ledger, although another worker goes on with the
// order and replays it. The workers' logs have its id.
func TestTrace(t *testing.T) {
	t.Parallel()
	c := &collector{}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	traced := func(cmd *exec.Cmd) *exec.Cmd {
		cmd.Env = append(cmd.Env, "OTEL_EXPORTER_OTLP_ENDPOINT="+server.URL, "OTEL_BSP_SCHEDULE_DELAY=100")
		return cmd
	}
	address, _ := startQuietServer(t)
	book := filepath.Join(t.TempDir(), "ledger.db")
	var log concurrentBuffer
	startWorker := func() *exec.Cmd {
		// Of order 120 the first brew jams, and no other.
		cmd := traced(coffeeCommand(t, "worker", "--address", address, "--ledger", book, "--charge-time", "1ms", "--brew-time", "200ms", "--receipt-time", "1ms", "--seed", "3"))
		cmd.Stderr = io.MultiWriter(t.Output(), &log)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	first := startWorker()
	order := traced(coffeeCommand(t, "order", "--address", address, "--drink", "latte", "--order-id", "120"))
	if err := order.Start(); err != nil {
		t.Fatal(err)
	}
	eventually := func(what string, ready func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !ready(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: the collector has %v", what, c.received())
			}
		}
	}
	const attempt = "RunActivity:brew_coffee"
	eventually("the first brew", func() bool { return len(c.received()[attempt]) >= 1 })
	if err := first.Process.Kill(); err != nil { // without a word
		t.Fatal(err)
	}
	startWorker()
	if err := order.Wait(); err != nil {
		t.Fatal(err)
	}
	const workflow, receipt = "RunWorkflow:OrderCoffeeWorkflow", "RunActivity:send_receipt"
	eventually("the end", func() bool { return len(c.received()[workflow]) > 0 && len(c.received()[receipt]) > 0 })

	spans := c.received()
	ids := map[string]bool{}
	root := spans["StartWorkflow:OrderCoffeeWorkflow"]
	if len(root) != 1 || len(root[0].GetParentSpanId()) != 0 {
		t.Fatalf("the trace begins with %v", root)
	}
	child := func(of *tracepb.Span, name string, want int) []*tracepb.Span {
		t.Helper()
		var found []*tracepb.Span
		for _, span := range spans[name] {
			if bytes.Equal(span.GetTraceId(), root[0].GetTraceId()) && bytes.Equal(span.GetParentSpanId(), of.GetSpanId()) {
				found = append(found, span)
			}
		}
		if len(found) != want {
			t.Errorf("%s has %d spans %s, want %d", of.GetName(), len(found), name, want)
		}
		return found
	}
	for _, of := range spans {
		for _, span := range of {
			if bytes.Equal(span.GetTraceId(), root[0].GetTraceId()) && ids[string(span.GetSpanId())] {
				t.Errorf("there are two spans %s with one id", span.GetName())
			}
			ids[string(span.GetSpanId())] = true
		}
	}
	for _, run := range child(root[0], workflow, 1) {
		if got := attributes(run)["coffee.status"]; !strings.Contains(got, "COMPLETED") {
			t.Errorf("the workflow's span says %s", got)
		}
		if took := run.GetEndTimeUnixNano() - run.GetStartTimeUnixNano(); took < uint64(time.Second) {
			t.Errorf("the workflow took %v, less than its backoff", time.Duration(took))
		}
		for activity, attempts := range map[string]int{"charge_customer": 1, "brew_coffee": 2, "send_receipt": 1} {
			for _, started := range child(run, "StartActivity:"+activity, 1) {
				for _, attempt := range child(started, "RunActivity:"+activity, attempts) {
					statements := 0
					for _, of := range spans {
						for _, span := range of {
							if strings.HasPrefix(span.GetName(), "sql.") && bytes.Equal(span.GetTraceId(), root[0].GetTraceId()) && bytes.Equal(span.GetParentSpanId(), attempt.GetSpanId()) {
								statements++
							}
						}
					}
					if statements == 0 {
						t.Errorf("attempt %s of %s has no statements of the ledger", attributes(attempt)["temporalActivityAttempt"], activity)
					}
				}
			}
		}
	}
	trace := hex.EncodeToString(root[0].GetTraceId())
	if !regexp.MustCompile(`"order_id":"120",.*"trace_id":"` + trace + `".*"message":"charged"`).MatchString(log.String()) {
		t.Errorf("the log does not name trace %s", trace)
	}
}

// TestMetrics: what a worker has done is in its metrics, and it is ready as long as it
// can do more.
func TestMetrics(t *testing.T) {
	t.Parallel()
	address, _ := startQuietServer(t)
	ports, err := freePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	book := filepath.Join(t.TempDir(), "ledger.db")
	start(t, coffeeCommand(t, "worker", "--address", address, "--ledger", book, "--metrics-address", "127.0.0.1:"+ports[0],
		"--charge-time", "1ms", "--brew-time", "5s", "--receipt-time", "1ms", "--seed", "3"))
	start(t, coffeeCommand(t, "board", "--address", address, "--port", "0", "--metrics-address", "127.0.0.1:"+ports[1]))
	get := func(port, path string) (status int, body string) {
		response, err := http.Get("http://127.0.0.1:" + port + path)
		if err != nil {
			return 0, err.Error()
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text)
	}
	until := func(port, path string, ready func(status int, body string) bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !ready(get(port, path)); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				status, body := get(port, path)
				t.Fatalf("%s: %d %s", path, status, body)
			}
		}
	}
	isReady := func(status int, body string) bool { return status == 200 && body == "ok\n" }
	for _, port := range ports {
		until(port, "/readyz", isReady)
		until(port, "/healthz", isReady)
	}
	s := shopAt(t, address)
	s.Place(t.Context(), "789")
	s.Await(t.Context(), "789", func(view desk.OrderView) bool { return view.Stage == coffee.StageBrewing })
	if err := s.Orders.Cancel(t.Context(), "789", ""); err != nil {
		t.Fatal(err)
	}
	s.Place(t.Context(), "123")
	s.WantCompleted(t.Context(), "123", 525)
	until(ports[0], "/metrics", func(_ int, body string) bool { return strings.Contains(body, `outcome="cancelled"`) })
	_, metrics := get(ports[0], "/metrics")
	for _, line := range []string{
		`coffee_orders_total\{.*outcome="completed".*\} 1`,
		`coffee_orders_total\{.*outcome="cancelled".*\} 1`,
		`coffee_charged_cents_total\{.*\} 1050`,
		`coffee_refunded_cents_total\{.*\} 525`,
		`coffee_brew_jams_total\{.*\} 1`,
		`coffee_ledger_duration_seconds_count\{operation="charge"\} 2`,
		`coffee_ledger_errors_total\{operation="charge"\} 0`,
		`coffee_refunds_pending 0`,
		`temporal_worker_task_slots_available\{.*worker_type="ActivityWorker".*\} \d+`,
		`temporal_num_pollers\{.*poller_type="workflow_task".*\} \d+`,
		`temporal_request_latency_seconds_bucket\{.*le="0.001"\} \d+`,
	} {
		if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(metrics) {
			t.Errorf("there is no metric %s", line)
		}
	}
	for _, id := range []string{"123", "789"} {
		if regexp.MustCompile(`"(order-)?` + id + `"`).MatchString(metrics) {
			t.Errorf("order id %s is in a label", id)
		}
	}
	wantDocumented(t, metrics)

	// A ledger that has gone, as seen by a load balancer.
	execSQL(t, book, `ALTER TABLE ledger_entries RENAME TO elsewhere`)
	until(ports[0], "/readyz", func(status int, body string) bool {
		return status == 503 && strings.HasPrefix(body, "the ledger takes no entries: ")
	})
	execSQL(t, book, `ALTER TABLE elsewhere RENAME TO ledger_entries`)
	until(ports[0], "/readyz", isReady)
}

// wantDocumented checks that docs/operating.md names the metrics of a worker and those of
// an audit, and no others.
func wantDocumented(t *testing.T, worker string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "coffee.prom")
	if err := findings.WriteMetrics(file, &audit.Report{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	var there []string
	audited, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (coffee_\w+)`).FindAllStringSubmatch(worker+string(audited), -1) {
		there = append(there, match[1])
	}
	page, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "### Metrics")
	section, _, _ = strings.Cut(section, "### ")
	documented := regexp.MustCompile(`\bcoffee_\w+`).FindAllString(section, -1)
	slices.Sort(there)
	slices.Sort(documented)
	if !slices.Equal(there, documented) {
		t.Errorf("there are    %v\ndocumented are %v", there, documented)
	}
}
