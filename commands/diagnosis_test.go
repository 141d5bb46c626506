//go:build unix

package commands

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	ordertimeline "example.com/coffee/coffee/timeline"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/internal/sleep"
	"example.com/coffee/timeline"
)

// TestDiagnoses kills and freezes a server and its workers. Each view says what is in
// the way: the client that waits, status, status --watch, timeline and board.
func TestDiagnoses(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	ports, err := freePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	l := &lookers{t: t, ctx: ctx, address: "127.0.0.1:" + ports[0], dir: t.TempDir()}
	startServer := func() *exec.Cmd {
		return l.start("server", "--headless", "--port", ports[0])
	}
	startWorker := func(brewTime string) *exec.Cmd {
		return l.start("worker", "--address", l.address, "--brew-failure-rate", "0", "--charge-time", "10ms", "--receipt-time", "10ms", "--brew-time", brewTime)
	}
	l.shell, err = openCoffeeShell("coffee")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.shell.close)
	server := startServer()
	l.eventually("no orders", "", func() string { return l.command("status") })
	l.start("board", "--address", l.address, "--port", ports[1])
	l.connect("http://127.0.0.1:" + ports[1] + "/news")

	// No worker.
	waiting := l.order("one")
	l.eventually("no worker is polling", "is back", waiting.String)
	l.eventually("no worker is polling the task queue coffee-orders; start one with: coffee worker", "", func() string { return l.command("status", "one") })
	l.eventually("no worker is polling the task queue coffee-orders; start one with: coffee worker", "is back", l.screen)
	l.eventually(`"diagnosis":"no_worker"`, "", l.board)
	l.eventually("no worker is polling", "", func() string { return l.command("timeline", "one") })
	worker := startWorker("9s")
	l.eventually("brewing, attempt 1", "", l.screen)

	// A worker that is lost, before the server notices. One with code that does not
	// fit takes its place.
	l.kill(worker)
	l.eventually("No worker answered", "", func() string { return l.command("status", "one") })
	broken := l.coffee("worker", "--brew-failure-rate", "0", "--address", l.address)
	broken.Args[0] = "coffee-broken"
	l.run(broken)
	l.eventually("[TMPRL1100]", "start one with", func() string { return l.command("status", "one") })
	l.eventually("[TMPRL1100]", "no worker", l.screen)
	l.eventually(`"workflow_task_failure":"[TMPRL1100]`, "", l.boardOrders)
	l.eventually(`"diagnosis":""`, "", l.board)
	l.eventually("heartbeat timeout: no sign", "", func() string { return l.command("timeline", "one") })
	l.eventually("nondeterminism error", "", func() string { return l.command("timeline", "one") })
	l.eventually("Stuck        order one: its worker's code does not fit its history", "", func() string { return l.command("audit") })
	l.kill(broken)
	worker = startWorker("10ms")
	l.eventually(`"status": "COMPLETED"`, "", waiting.String)

	// The server goes away, and comes back before its worker does.
	l.kill(worker)
	since := time.Now()
	worker = startWorker("9s")
	l.untilPolled(since)
	waiting = l.order("two")
	l.eventually("brewing, attempt 1", "no worker", l.screen)
	// What is known of an attempt reaches the server with its first heartbeat.
	l.eventually("1 attempts", "", func() string { return l.reported("two") })
	l.kill(server)
	l.eventually("the server does not answer: waiting for it; order two is recorded there", "no worker", waiting.String)
	l.eventually("no Temporal server answers at "+l.address, "no worker", func() string { return l.command("status", "two") })
	l.eventually("no Temporal server answers at "+l.address, "no worker", l.screen)
	l.eventually(`"diagnosis":"server_away"`, "", l.board)
	if err := worker.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	startServer()
	l.eventually("the server is back; its workers reconnect within seconds", "coffee worker", waiting.String)
	// The brew times out, and its next attempt waits for the worker.
	l.eventually("the server is back; its workers reconnect within seconds", "coffee worker", l.screen)
	l.eventually(`"diagnosis":"reconnecting"`, "", l.board)
	if err := worker.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	l.eventually("brewing, attempt 2", "coffee worker", l.screen)
	l.eventually(`"diagnosis":""`, "", l.board)
	l.eventually("2 attempts", "", func() string { return l.reported("two") })
	l.kill(worker)
	l.eventually("heartbeat timeout: no sign of life; heartbeat timeout: no sign of life", "failed", func() string { return l.attempts("two") })
	startWorker("10ms")
	l.eventually(`"status": "COMPLETED"`, "coffee worker", waiting.String)
}

// lookers look at orders in all ways that there are.
type lookers struct {
	t       *testing.T
	ctx     context.Context
	address string // of the server
	dir     string // of the server's data, and the ledger's
	shell   *coffeeShell
	service workflowservice.WorkflowServiceClient
	orders  *desk.Client
	watched *watchedList

	mu   sync.Mutex
	news string // the last message of the board
	rows string // the last one about orders
}

// coffee returns a command that shares its data with the others.
func (l *lookers) coffee(args ...string) *exec.Cmd {
	l.t.Helper()
	cmd := coffeeCommand(l.t, args...)
	cmd.Env = append(cmd.Env, "XDG_DATA_HOME="+l.dir)
	return cmd
}

// start starts a command in the background.
func (l *lookers) start(args ...string) *exec.Cmd {
	l.t.Helper()
	cmd := l.coffee(args...)
	l.run(cmd)
	return cmd
}

func (l *lookers) run(cmd *exec.Cmd) {
	l.t.Helper()
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { l.kill(cmd) })
}

func (l *lookers) kill(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
}

// command returns what a command prints.
func (l *lookers) command(args ...string) string {
	l.t.Helper()
	said, err := l.shell.run(shellRequest{Args: append(args, "--address", l.address), Env: []string{"HOME=" + l.dir, "XDG_DATA_HOME=" + l.dir}, Dir: l.dir})
	if err != nil {
		l.t.Fatal(err)
	}
	return said.Stdout + said.Stderr
}

// untilPolled waits until a worker has polled since then: one that was killed stays in the
// list of pollers for minutes.
func (l *lookers) untilPolled(since time.Time) {
	l.t.Helper()
	for {
		described, err := l.service.DescribeTaskQueue(l.ctx, &workflowservice.DescribeTaskQueueRequest{
			Namespace:     client.DefaultNamespace,
			TaskQueue:     &taskqueuepb.TaskQueue{Name: coffee.TaskQueue},
			TaskQueueType: enumspb.TASK_QUEUE_TYPE_WORKFLOW,
		})
		if err == nil && slices.ContainsFunc(described.GetPollers(), func(poller *taskqueuepb.PollerInfo) bool {
			return poller.GetLastAccessTime().AsTime().After(since)
		}) {
			return
		}
		if !sleep.For(l.ctx, 50*time.Millisecond) {
			l.t.Fatal(err)
		}
	}
}

// order places an order, and returns what its client prints while it waits.
func (l *lookers) order(id string) *concurrentBuffer {
	out := &concurrentBuffer{}
	cmd := l.coffee("order", "--order-id", id, "--drink", "latte", "--address", l.address)
	cmd.Stdout, cmd.Stderr = out, out
	l.run(cmd)
	return out
}

// connect connects status --watch to the server, and a page to the board.
func (l *lookers) connect(newsURL string) {
	a := &app.App{Log: zerolog.Nop(), Platform: zerolog.Nop()}
	conn, err := connect.Open(l.ctx, a, connect.Options{Options: client.Options{HostPort: l.address, Namespace: client.DefaultNamespace}})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(conn.Close)
	l.service, l.orders = conn.WorkflowService(), conn.Orders()
	l.watched = &watchedList{orders: l.orders, options: desk.ListOptions{Limit: 10}}
	var response *http.Response
	for {
		request, err := http.NewRequestWithContext(l.ctx, http.MethodGet, newsURL, nil)
		if err != nil {
			l.t.Fatal(err)
		}
		if response, err = http.DefaultClient.Do(request); err == nil {
			break
		}
		if !sleep.For(l.ctx, 50*time.Millisecond) {
			l.t.Fatal(err)
		}
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() { // until the test has ended
			if news, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				l.mu.Lock()
				l.news = news
				if strings.Contains(news, `"orders":[{`) {
					l.rows = news
				}
				l.mu.Unlock()
			}
		}
	})
	l.t.Cleanup(func() { response.Body.Close(); reading.Wait() })
}

// screen asks the server, and returns what status --watch shows then.
func (l *lookers) screen() string {
	ctx, cancel := context.WithTimeout(l.ctx, connect.Patience)
	defer cancel()
	drawn, err := l.watched.look(ctx, 200, 24)
	if err != nil {
		return connect.Endpoint{Address: l.address}.Lost(err)
	}
	return string(drawn)
}

// board returns the last message of the board.
func (l *lookers) board() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.news != "" && !json.Valid([]byte(l.news)) {
		l.t.Errorf("the board says %s", l.news)
	}
	return l.news
}

// boardOrders returns the last message of the board about orders.
func (l *lookers) boardOrders() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rows
}

// attempts returns how the attempts of an order ended.
func (l *lookers) attempts(id string) string {
	l.t.Helper()
	history, err := l.orders.History(l.ctx, id)
	if err != nil {
		l.t.Fatal(err)
	}
	var outcomes []string
	for _, row := range ordertimeline.New(history).Rows {
		if row.Kind == timeline.KindAttempt {
			outcomes = append(outcomes, row.Outcome)
		}
	}
	return strings.Join(outcomes, "; ")
}

// reported returns how many attempts of a step the heartbeats of the latest one have told
// the server of.
func (l *lookers) reported(id string) string {
	l.t.Helper()
	history, err := l.orders.History(l.ctx, id)
	if err != nil {
		l.t.Fatal(err)
	}
	count := 0
	for _, activity := range history.Pending {
		count += len(timeline.DecodeAttempts(activity.GetHeartbeatDetails()))
	}
	return fmt.Sprintf("%d attempts", count)
}

// eventually looks until want is seen. Until then, and then, never must not be seen.
func (l *lookers) eventually(want, never string, look func() string) {
	l.t.Helper()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 320*time.Millisecond) {
		seen := look()
		if never != "" && strings.Contains(seen, never) {
			l.t.Fatalf("%q is not true, but this is shown:\n%s", never, seen)
		}
		if strings.Contains(seen, want) {
			return
		}
		if !sleep.For(l.ctx, pause) {
			l.t.Fatalf("there is no %q:\n%s", want, seen)
		}
	}
}
