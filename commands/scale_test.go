package commands

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/ledger/ledgertest"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/internal/sleep"
)

// clusterPostgresVariable names the environment variable with the URL of the PostgreSQL
// server under the cluster, without the name of a database.
const clusterPostgresVariable = "COFFEE_TEST_CLUSTER_POSTGRES"

// clusterMetricsVariable names the environment variable with the URLs of the metrics of
// the cluster's nodes, with commas in between.
const clusterMetricsVariable = "COFFEE_TEST_CLUSTER_METRICS"

// costs is how many orders are counted.
const costs = 40

// TestCostOfAnOrder counts what an order without a jam costs a cluster, and compares
// that with the table in docs/operating.md. What the server decides is exact; what depends
// on the moment may differ by a third.
func TestCostOfAnOrder(t *testing.T) {
	postgres, metrics := os.Getenv(clusterPostgresVariable), strings.Split(os.Getenv(clusterMetricsVariable), ",")
	if os.Getenv(clusterVariable) == "" || postgres == "" || metrics[0] == "" {
		t.Skip("there is no cluster: .ci/cluster starts one")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	calls := &callCounter{counts: map[string]int{}}
	conn, err := connect.Open(ctx, &app.App{Log: log, Platform: log, Options: app.Options{Dial: []grpc.DialOption{grpc.WithChainUnaryInterceptor(calls.intercept)}}}, connect.Options{Options: testServer(t, false, log)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	// A schema of its own: the cluster's ledger is for the namespace default.
	schema := "cost_" + strings.ToLower(rand.Text())
	if _, err := ledgertest.OpenPostgres(t, postgres+"/ledger").Exec(`CREATE SCHEMA ` + schema); err != nil {
		t.Fatal(err)
	}
	book, err := ledger.Open(ctx, postgres+"/ledger?search_path="+schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { book.Close() })
	s := atConnection(t, conn, book, "", log)
	s.startWorkerWith(coffee.WorkerOptions{Services: coffee.ServiceConfig{ChargeTime: time.Millisecond, BrewTime: time.Millisecond, ReceiptTime: time.Millisecond}})
	order := func(id string) {
		s.Place(ctx, id)
		s.WantCompleted(ctx, id, 525)
	}
	order(conn.Namespace + "-warm-up")

	count := func() map[string]float64 {
		counts := commits(ctx, t, postgres)
		for _, url := range metrics {
			requests(ctx, t, url, counts)
		}
		return counts
	}
	idle, took := count(), time.Now()
	sleep.For(ctx, 20*time.Second) // what the cluster does without orders
	before := count()
	rate := map[string]float64{}
	for name := range before {
		rate[name] = (before[name] - idle[name]) / time.Since(took).Seconds()
	}
	began := time.Now()
	calls.reset()
	for i := range costs {
		order(fmt.Sprintf("%s-%d", conn.Namespace, i))
	}
	perOrder := calls.perOrder()
	after := count()
	elapsed := time.Since(began).Seconds()

	counted := map[string]float64{}
	for name := range after {
		counted[name] = (after[name] - before[name] - rate[name]*elapsed) / costs
	}
	id := fmt.Sprintf("%s-%d", conn.Namespace, 0)
	for _, event := range s.history(ctx, id).GetEvents() {
		counted["history events"]++
		switch event.GetEventType() {
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
			counted["workflow tasks"]++
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
			counted["activity tasks"]++
		}
	}
	described, err := conn.DescribeWorkflowExecution(ctx, coffee.WorkflowID(id), "")
	if err != nil {
		t.Fatal(err)
	}
	counted["history bytes"] = float64(described.GetWorkflowExecutionInfo().GetHistorySizeBytes())
	for _, name := range slices.Sorted(maps.Keys(perOrder)) {
		t.Logf("%-40s %.2f", name, perOrder[name])
		counted["requests"] += perOrder[name]
	}
	for _, name := range slices.Sorted(maps.Keys(counted)) {
		t.Logf("%-40s %.1f", name, counted[name])
	}
	exact := []string{"history events", "workflow tasks", "activity tasks"}
	for name, want := range documentedCosts(t) {
		got, ok := counted[name]
		if tolerance := want / 3; !ok || slices.Contains(exact, name) && got != want || math.Abs(got-want) > tolerance {
			t.Errorf("%s: counted %.1f, and docs/operating.md has %.1f", name, got, want)
		}
	}
}

// documentedCosts returns the rows of the table in docs/operating.md.
func documentedCosts(t *testing.T) map[string]float64 {
	t.Helper()
	text, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n### What one order costs\n")
	section, _, ended := strings.Cut(section, "\n##")
	if !found || !ended {
		t.Fatal("docs/operating.md has no such section")
	}
	costs := map[string]float64{}
	for _, match := range regexp.MustCompile(`(?m)^\| ([a-z, ]+) \| ([0-9,.]+) \|`).FindAllStringSubmatch(section, -1) {
		number := regexp.MustCompile(`,`).ReplaceAllString(match[2], "")
		if costs[match[1]], err = strconv.ParseFloat(number, 64); err != nil {
			t.Fatal(err)
		}
	}
	if len(costs) < 8 {
		t.Fatalf("docs/operating.md has only %v", costs)
	}
	return costs
}

// commits returns how many transactions each database has committed. PostgreSQL counts
// those of a connection some seconds later.
func commits(ctx context.Context, t *testing.T, postgres string) map[string]float64 {
	t.Helper()
	sleep.For(ctx, 12*time.Second)
	rows, err := ledgertest.OpenPostgres(t, postgres+"/postgres").QueryContext(ctx, `SELECT datname, xact_commit FROM pg_stat_database WHERE datname IN ('temporal', 'visibility', 'ledger')`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	counts := map[string]float64{}
	for rows.Next() {
		var name string
		var count float64
		if err := rows.Scan(&name, &count); err != nil {
			t.Fatal(err)
		}
		counts["transactions, "+name] = count
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return counts
}

// requests adds what a node's metrics say it was asked, by its service.
func requests(ctx context.Context, t *testing.T, url string, to map[string]float64) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		match := serviceRequests.FindStringSubmatch(lines.Text())
		if match == nil {
			continue
		}
		count, err := strconv.ParseFloat(match[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		to["requests, "+match[1]] += count
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

var serviceRequests = regexp.MustCompile(`^service_requests\{.*service_name="(history|matching)".*\} (\S+)$`)

// callCounter counts the requests of a client and a worker.
type callCounter struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *callCounter) intercept(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, reply, conn, options...)
	empty := err != nil // a poll that brings nothing is not caused by an order
	switch reply := reply.(type) {
	case *workflowservice.PollWorkflowTaskQueueResponse:
		empty = empty || len(reply.GetTaskToken()) == 0
	case *workflowservice.PollActivityTaskQueueResponse:
		empty = empty || len(reply.GetTaskToken()) == 0
	}
	if !empty {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.counts[path.Base(method)]++
	}
	return err
}

func (c *callCounter) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.counts)
}

func (c *callCounter) perOrder() map[string]float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	each := map[string]float64{}
	for name, count := range c.counts {
		each[name] = float64(count) / costs
	}
	return each
}

// TestCommandsOnAServer runs the commands that operators use on a server or a cluster:
// rush, lists by status, the audit.
func TestCommandsOnAServer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := newShop(t)
	coffee := func(args ...string) string {
		t.Helper()
		cmd := coffeeCommand(t, slices.Concat(args, []string{"--address", s.conn.At.Address, "-n", s.conn.Namespace})...)
		cmd.Stdout, cmd.Stderr = nil, nil
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("coffee %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	worker := coffeeCommand(t, "worker", "--address", s.conn.At.Address, "-n", s.conn.Namespace, "--ledger", s.Book,
		"--charge-time", "10ms", "--brew-time", "10ms", "--receipt-time", "10ms", "--brew-failure-rate", "0")
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { worker.Process.Kill(); worker.Wait() })
	if out := coffee("rush", "--orders", "30", "--concurrency", "10", "--ledger", s.Book); !strings.Contains(out, "Orders       30: 30 completed") {
		t.Errorf("rush printed\n%s", out)
	}
	s.Place(ctx, "cancelled")
	if err := s.Orders.Cancel(ctx, "cancelled", ""); err != nil {
		t.Fatal(err)
	}
	result, err := s.Orders.Result(ctx, "cancelled")
	if err != nil {
		t.Fatal(err)
	}
	last := strings.ToLower(string(result.Status)) // the cancel may have come too late
	s.wantListed(ctx, "CoffeeStatus = 'COMPLETED'", 30)
	s.wantListed(ctx, "CoffeeStatus = '"+string(result.Status)+"'", 1)
	if out := coffee("status", "--status", last); !strings.Contains(out, "\ncancelled ") {
		t.Errorf("status --status %s printed\n%s", last, out)
	}
	if out := coffee("status", "--status", "running"); strings.Contains(out, "cancelled") || strings.Contains(out, "rush-") {
		t.Errorf("status --status running printed\n%s", out)
	}
	if out := coffee("audit", "--ledger", s.Book); !strings.Contains(out, "Orders       31:") || !strings.Contains(out, "no breach") {
		t.Errorf("the audit printed\n%s", out)
	}
}
