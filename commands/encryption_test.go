package commands

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/rs/zerolog"
	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/proxy"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/encryption"
	"example.com/coffee/coffee/ledger"
)

// newKeyset makes a keyset in a file of its own.
func newKeyset(t *testing.T) *encryption.Keyset {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := encryption.Create(path); err != nil {
		t.Fatal(err)
	}
	keyset, err := encryption.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return keyset
}

// encryptedShop connects to a server with a keyset, on a ledger in memory.
func encryptedShop(t *testing.T, options client.Options, keyset *encryption.Keyset, watch *encryption.Watch) *shop {
	t.Helper()
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.Disabled)
	conn, err := (&app{log: log, platform: log}).connect(t.Context(), connectOptions{Options: options, keyset: keyset, watch: watch})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	book, err := ledger.OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { book.Close() })
	return &shop{t: t, conn: conn, orders: conn.orders(), ledger: book, log: log}
}

// TestEncryptedOnTheServer: what the server has of an order whose brews jam tells
// nothing about it but its id, its steps and how it ended. With the keyset, a history
// from a file replays.
func TestEncryptedOnTheServer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	options := testServer(t, false, zerolog.Nop())
	keyset := newKeyset(t)
	s := encryptedShop(t, options, keyset, nil)
	s.startWorkerWith(coffee.WorkerOptions{Services: coffee.ServiceConfig{Seed: 3, BrewFailureRate: 0.3}})
	s.place(ctx, "123") // its first brew jams
	s.wantResult(ctx, "123", 525)

	server, err := client.DialContext(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	described, err := server.DescribeWorkflowExecution(ctx, coffee.WorkflowID("123"), "")
	if err != nil {
		t.Fatal(err)
	}
	listed, err := server.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: options.Namespace})
	if err != nil {
		t.Fatal(err)
	}
	history := &historypb.History{}
	for events := server.GetWorkflowHistory(ctx, coffee.WorkflowID("123"), "", false, 1); events.HasNext(); {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		history.Events = append(history.Events, event)
	}
	for _, message := range []proto.Message{described, listed, history} {
		raw, err := proto.Marshal(message) // payloads are bytes, which JSON would hide
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"latte", `amount_cents":525`, "amount_cents", "jammed", "standard", "receipt_sent"} {
			if strings.Contains(string(raw), secret) {
				t.Errorf("the server has %q in %T", secret, message)
			}
		}
	}
	// Each payload is bound to its order.
	bound := 0
	if err := proxy.VisitPayloads(ctx, history, proxy.VisitPayloadsOptions{SkipSearchAttributes: true, Visitor: func(_ *proxy.VisitPayloadsContext, payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
		for _, payload := range payloads {
			if metadata := payload.GetMetadata(); string(metadata["encryption-workflow-id"]) != coffee.WorkflowID("123") {
				t.Errorf("a payload is not bound to the order: %v", metadata)
			}
			bound++
		}
		return payloads, nil
	}}); err != nil || bound < 10 {
		t.Errorf("of %d payloads: %v", bound, err)
	}
	if raw, err := proto.Marshal(described); err != nil || !strings.Contains(string(raw), "COMPLETED") {
		t.Errorf("the search attribute cannot be read: %v", err)
	}

	text, err := protojson.Marshal(history)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "123.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ args, want string }{
		{"replay " + file + " --encryption-keyset " + keyset.Path(), "Replayed     1 history (0 still running), 0 broken"},
		{"timeline " + file + " --encryption-keyset " + keyset.Path(), "charged $5.25"},
		{"replay " + file, "and there is no keyset"},
	} {
		cmd := coffeeCommand(t, strings.Fields(test.args)...)
		cmd.Stdout, cmd.Stderr = nil, nil
		if out, err := cmd.CombinedOutput(); !strings.Contains(string(out), test.want) {
			t.Errorf("coffee %s: %v\n%s", test.args, err, out)
		}
	}
}

// TestTwoKeysets: a worker that runs with another keyset than the others learns so from
// the first activity that it gets, and gives it back. The order loses one attempt of it
// and goes on.
func TestTwoKeysets(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	options := testServer(t, false, zerolog.Nop())
	told := make(chan error, 100)
	watch := &encryption.Watch{Refused: func(err error, hopeless bool) {
		if hopeless {
			told <- err
		}
	}}
	wrong := encryptedShop(t, options, newKeyset(t), watch)
	right := encryptedShop(t, options, newKeyset(t), nil)
	stop := wrong.startWorkerWith(coffee.WorkerOptions{})
	// A worker does the activities of its orders itself. One that is tried again, because
	// the machine has jammed, goes to either worker.
	right.startWorkerWith(coffee.WorkerOptions{Services: coffee.ServiceConfig{BrewFailureRate: 0.3}})
	var ids []string
	for len(told) == 0 {
		id := coffee.NewOrderID()
		right.place(ctx, id)
		ids = append(ids, id)
		if !sleep(ctx, 50*time.Millisecond) {
			t.Fatal("the worker was not told")
		}
	}
	stop() // as coffee worker does then
	if err := watch.Check(ctx); err == nil {
		t.Error("the worker is ready")
	}
	if err := <-told; !strings.Contains(err.Error(), "which is not in the keyset") {
		t.Error(err)
	}
	for _, id := range ids {
		if result, err := right.orders.Result(ctx, id); err != nil || !result.Charged || result.Status != coffee.StatusCompleted && !result.Refunded {
			t.Errorf("order %s: %+v, %v", id, result, err)
		}
	}
}

// TestCodecInABrowser: the Web UI shows an order in plain text with the codec server,
// and ciphertext without it.
func TestCodecInABrowser(t *testing.T) {
	t.Parallel()
	chromium := browser(t)
	keyset := []string{"--encryption-keyset", newKeyset(t).Path()}
	for _, test := range []struct {
		name, want string
		server     []string
	}{
		{"with-codec", `amount_cents`, keyset},
		{"without-codec", `[A-Za-z0-9+/]{80}`, nil},
	} {
		address, ui := startQuietServer(t, test.server...)
		start(t, coffeeCommand(t, append([]string{"worker", "--address", address, "--brew-failure-rate", "0"}, keyset...)...))
		if err := coffeeCommand(t, append([]string{"order", "--drink", "latte", "--order-id", "1", "--address", address}, keyset...)...).Run(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := chromedp.NewContext(chromium)
		defer cancel()
		page := &tab{t, ctx}
		page.do(chromedp.Navigate(ui + "/namespaces/default/workflows/order-1"))
		page.until("the Web UI "+test.name, `/`+strings.ReplaceAll(test.want, "/", `\/`)+`/.test(document.body.innerText)`)
		page.picture("web-ui-" + test.name)
		if plain := page.eval(`/amount_cents\D{1,9}525\b/.test(document.body.innerText)`); plain != (test.server != nil) {
			t.Errorf("%s, the Web UI shows the price: %v", test.name, plain)
		}
	}
}

// start starts a process that ends with the test, by an interrupt.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// startQuietServer starts coffee server in memory on free ports, and returns its
// address and the URL of its Web UI.
func startQuietServer(t *testing.T, flags ...string) (address, ui string) {
	t.Helper()
	cmd := coffeeCommand(t, append([]string{"server", "--in-memory", "--port", "0"}, flags...)...)
	cmd.Stdout = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		switch fields[0] {
		case "gRPC":
			address = fields[1]
		case "Web":
			ui = fields[2]
		case "Database": // the last one
			return address, ui
		}
	}
	t.Fatal("the server is not ready")
	return "", ""
}
