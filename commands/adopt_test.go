package commands

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/sleep"
)

// TestOldDatabases takes over the databases of older Temporal servers, and one that an
// early release of this program made. All were killed with orders under way
// (devserver/testdata/old). Every order ends as it should, nobody is charged twice, and
// everything else in them goes on as well.
func TestOldDatabases(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../devserver/testdata/old/*.tar.gz")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no databases", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			testOldDatabase(t, file)
		})
	}
}

func testOldDatabase(t *testing.T, archive string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-C", dir, "-xzf", archive).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	before, err := os.ReadFile(filepath.Join(dir, "coffee.db"))
	if err != nil {
		t.Fatal(err)
	}
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	var said []string
	server, err := devserver.Start(ctx, devserver.Options{
		DatabaseFile: filepath.Join(dir, "coffee.db"), Adopt: true, Log: log,
		Notify: func(line string) { said = append(said, line) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	ours := strings.HasPrefix(filepath.Base(archive), "coffee-")
	if kept, err := os.ReadFile(filepath.Join(dir, "coffee.db.before-adoption")); !ours && (err != nil || !slices.Equal(kept, before)) {
		t.Errorf("the old database was not kept as it was, %v; %q", err, said)
	}
	conn, err := connect.Open(ctx, &app.App{Log: log, Platform: log}, connect.Options{Options: server.ClientOptions()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	book := filepath.Join(dir, "ledger.db")
	l, err := ledger.OpenExisting(ctx, book)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := atConnection(t, conn, l, book, log)
	s.startWorker()

	for id, want := range map[string]coffee.OrderResult{
		"completed":         {Status: coffee.StatusCompleted, Charged: true, Brewed: true, ReceiptSent: true, AmountCents: 525},
		"cancelled":         {Status: coffee.StatusCancelled, Charged: true, AmountCents: 525, Refunded: true},
		"backoff":           {Status: coffee.StatusCompleted, Charged: true, Brewed: true, ReceiptSent: true, AmountCents: 675},
		"brewing":           {Status: coffee.StatusCompleted, Charged: true, Brewed: true, ReceiptSent: true, AmountCents: 300},
		"waiting":           {Status: coffee.StatusCompleted, Charged: true, Brewed: true, ReceiptSent: true, AmountCents: 525},
		"waiting-cancelled": {Status: coffee.StatusCancelled, AmountCents: 525},
	} {
		want.OrderID = id
		if result, err := s.Orders.Result(ctx, id); err != nil || result != want {
			t.Errorf("got  %+v, %v\nwant %+v", result, err, want)
		}
	}
	report := s.Audit(ctx, book, audit.Options{})
	if len(report.Breaches) != 0 || report.Replayed != 6 {
		t.Errorf("the audit found %v, and replayed %d histories", report.Breaches, report.Replayed)
	}
	s.wantListed(ctx, "CoffeeStatus = 'COMPLETED'", 4)
	s.wantListed(ctx, "CoffeeStatus = 'CANCELLED'", 2)
	// No server before 1.31 had this attribute.
	s.wantListed(ctx, "WorkflowType = 'OrderCoffeeWorkflow' AND TemporalExternalPayloadCount IS NULL", 6)
	if ours {
		return
	}
	s.wantListed(ctx, "Shop = 'north'", 1)

	// The timer is over, and the schedule is there.
	reminders := worker.New(sdk(conn), "reminders", worker.Options{})
	reminders.RegisterWorkflowWithOptions(func(ctx workflow.Context, d time.Duration) (string, error) {
		return "time is up", workflow.Sleep(ctx, d)
	}, workflow.RegisterOptions{Name: "Reminder"})
	if err := reminders.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reminders.Stop)
	var text string
	if err := conn.GetWorkflow(ctx, "reminder", "").Get(ctx, &text); err != nil || text != "time is up" {
		t.Errorf("the reminder: %q, %v", text, err)
	}
	schedule := conn.ScheduleClient().GetHandle(ctx, "every-hour")
	if err := schedule.Trigger(ctx, client.ScheduleTriggerOptions{}); err != nil {
		t.Error(err)
	}
	s.wantListed(ctx, "TemporalScheduledById = 'every-hour' AND ExecutionStatus = 'Completed'", 1)
}

// wantListed waits until a query finds at least as many workflows.
func (s *shop) wantListed(ctx context.Context, query string, want int) {
	s.T.Helper()
	for {
		list, err := s.conn.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: s.conn.Namespace, Query: query})
		if err == nil && len(list.GetExecutions()) >= want {
			return
		}
		if !sleep.For(ctx, 50*time.Millisecond) {
			s.T.Fatalf("%s finds %d, %v", query, len(list.GetExecutions()), err)
		}
	}
}

// TestKilledWhileAdopting kills the server of an old database again and again. All
// orders end as they should.
func TestKilledWhileAdopting(t *testing.T) {
	t.Parallel()
	for i, name := range []string{"1.30.8", "coffee-0d9a79c"} {
		t.Run(name, func(t *testing.T) {
			if i > 0 {
				rarely(t)
			}
			t.Parallel()
			testKilledWhileAdopting(t, "../devserver/testdata/old/"+name+".tar.gz")
		})
	}
}

func testKilledWhileAdopting(t *testing.T, archive string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	dir, address := t.TempDir(), "127.0.0.1:"+ports[0]
	if out, err := exec.Command("tar", "-C", dir, "-xzf", archive).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	start := func(args ...string) *exec.Cmd {
		cmd := coffeeCommand(t, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd
	}
	startServer := func() *exec.Cmd {
		return start("server", "--headless", "--adopt", "--port", ports[0], "--db-filename", filepath.Join(dir, "coffee.db"))
	}
	server := startServer()
	awaitReady := func() *desk.Client {
		for {
			conn, err := connect.Open(ctx, &app.App{Log: zerolog.Nop(), Platform: zerolog.Nop()}, connect.Options{Options: client.Options{HostPort: address, Namespace: client.DefaultNamespace}})
			if err == nil {
				t.Cleanup(conn.Close)
				return conn.Orders()
			}
			if !sleep.For(ctx, 50*time.Millisecond) {
				t.Fatal(err)
			}
		}
	}
	awaitReady()
	start("worker", "--address", address, "--ledger", filepath.Join(dir, "ledger.db"), "--brew-failure-rate", "0", "--charge-time", "1s", "--brew-time", "1s")
	for range 3 {
		awaitReady()
		sleep.For(ctx, 700*time.Millisecond) // the instant of the kill
		if err := server.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = server.Wait() // it was killed
		server = startServer()
	}
	orders := awaitReady()
	var statuses []string
	for _, id := range []string{"completed", "cancelled", "backoff", "brewing", "waiting", "waiting-cancelled"} {
		result, err := orders.Result(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		statuses = append(statuses, fmt.Sprint(id, " ", result.Status))
	}
	want := "completed COMPLETED, cancelled CANCELLED, backoff COMPLETED, brewing COMPLETED, waiting COMPLETED, waiting-cancelled CANCELLED"
	if got := strings.Join(statuses, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	cmd := coffeeCommand(t, "audit", "--address", address, "--ledger", filepath.Join(dir, "ledger.db"))
	cmd.Stdout, cmd.Stderr = nil, nil
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || !strings.Contains(string(out), "no breach") {
		t.Errorf("%v\n%s", err, out)
	}
}
