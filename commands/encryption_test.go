package commands

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/rs/zerolog"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/proxy"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/encoding/protojson"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/encryption"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/sleep"
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
func encryptedShop(t *testing.T, options client.Options, keyset *encryption.Keyset, reading encryption.Options) *shop {
	t.Helper()
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.Disabled)
	conn, err := connect.Open(t.Context(), &app.App{Log: log, Platform: log}, connect.Options{Options: options, Keyset: keyset, Reading: reading})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	book, err := ledger.OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { book.Close() })
	return atConnection(t, conn, book, "", log)
}

// TestEncryptedOnTheServer: what the server has of orders, and of a workflow that uses
// everything else that a workflow can, tells nothing about them but their ids, their steps
// and how they ended. Those with the keyset see all of it. With the keyset, a history from a
// file replays.
func TestEncryptedOnTheServer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	file := filepath.Join(t.TempDir(), "coffee.db")
	server, err := devserver.Start(ctx, devserver.Options{DatabaseFile: file})
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceValue(server.Stop)
	defer stop()
	keyset := newKeyset(t)
	s := encryptedShop(t, server.ClientOptions(), keyset, encryption.Options{})
	s.startWorkerWith(coffee.WorkerOptions{Services: coffee.ServiceConfig{Seed: 3, BrewFailureRate: 0.3}})
	s.Place(ctx, "123") // its first brew jams
	s.WantCompleted(ctx, "123", 525)
	s.Place(ctx, "cancelled")
	if err := s.Orders.Cancel(ctx, "cancelled", "a secret reason"); err != nil && !errors.Is(err, coffee.ErrEnded) {
		t.Fatal(err)
	}
	useEverything(ctx, t, s)
	raw := rawHistory(ctx, t, server.ClientOptions(), coffee.WorkflowID("123"))

	// Each payload is bound to its order.
	bound := 0
	if err := proxy.VisitPayloads(ctx, raw, proxy.VisitPayloadsOptions{SkipSearchAttributes: true, Visitor: func(_ *proxy.VisitPayloadsContext, payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
		for _, payload := range payloads {
			if metadata := payload.GetMetadata(); string(metadata["encryption-workflow-id"]) != coffee.WorkflowID("123") || string(metadata["encryption-namespace"]) != client.DefaultNamespace {
				t.Errorf("a payload is not bound to the order: %v", metadata)
			}
			bound++
		}
		return payloads, nil
	}}); err != nil || bound < 10 {
		t.Errorf("of %d payloads: %v", bound, err)
	}
	text, err := protojson.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	exported := filepath.Join(t.TempDir(), "123.json")
	if err := os.WriteFile(exported, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ args, want string }{
		{"replay " + exported + " --encryption-keyset " + keyset.Path(), "Replayed     1 history (0 still running), 0 broken"},
		{"timeline " + exported + " --encryption-keyset " + keyset.Path(), "charged $5.25"},
		{"replay " + exported, "and there is no keyset"},
	} {
		cmd := coffeeCommand(t, strings.Fields(test.args)...)
		cmd.Stdout, cmd.Stderr = nil, nil
		if out, err := cmd.CombinedOutput(); !strings.Contains(string(out), test.want) {
			t.Errorf("coffee %s: %v\n%s", test.args, err, out)
		}
	}

	if err := stop(); err != nil {
		t.Fatal(err)
	}
	var database []byte
	for _, name := range []string{file, file + "-wal"} {
		part, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		database = append(database, part...)
	}
	for _, secret := range []string{"secret", "latte", "amount_cents", "jammed", "standard", "receipt_sent"} {
		if at := bytes.Index(database, []byte(secret)); at >= 0 {
			t.Errorf("the server has %q: %q", secret, database[max(0, at-100):min(len(database), at+100)])
		}
	}
	if !bytes.Contains(database, []byte("COMPLETED")) || !bytes.Contains(database, []byte(typeEverything)) {
		t.Error("the database is somewhere else")
	}
}

// rawHistory returns the history of a workflow as the server has it.
func rawHistory(ctx context.Context, t *testing.T, options client.Options, workflowID string) *historypb.History {
	t.Helper()
	server, err := client.DialContext(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	history := &historypb.History{}
	for events := server.GetWorkflowHistory(ctx, workflowID, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		history.Events = append(history.Events, event)
	}
	return history
}

const (
	typeEverything = "Everything"
	everythings    = "everythings" // their task queue
)

// everything is a workflow that says secrets wherever a workflow can. The child does
// nothing but end.
func everything(ctx workflow.Context, input string) (string, error) {
	var learned []string
	if err := workflow.SetUpdateHandler(ctx, "update", func(ctx workflow.Context, secret string) (string, error) {
		learned = append(learned, secret)
		return "secret answer", nil
	}); err != nil {
		return "", err
	}
	if err := workflow.SetQueryHandler(ctx, "query", func(secret string) (string, error) { return secret, nil }); err != nil {
		return "", err
	}
	if workflow.GetInfo(ctx).ParentWorkflowExecution != nil {
		return "secret of a child", nil
	}
	workflow.SetCurrentDetails(ctx, "secret details")
	var effect, local, result, childs string
	steps := []error{
		workflow.UpsertMemo(ctx, map[string]any{"note": "secret memo"}),
		workflow.SideEffectWithOptions(ctx, workflow.SideEffectOptions{Summary: "secret summary"}, func(workflow.Context) any { return "secret effect" }).Get(&effect),
		workflow.MutableSideEffect(ctx, "mutable", func(workflow.Context) any { return "secret" }, func(a, b any) bool { return a == b }).Get(&effect),
		workflow.ExecuteLocalActivity(workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: time.Second, Summary: "secret summary"}), tell, "secret", false).Get(ctx, &local),
		workflow.NewTimerWithOptions(ctx, time.Millisecond, workflow.TimerOptions{Summary: "secret timer"}).Get(ctx, nil),
	}
	activities := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: time.Minute, Summary: "secret summary",
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Millisecond, MaximumAttempts: 2},
	})
	steps = append(steps, workflow.ExecuteActivity(activities, tell, "secret", false).Get(ctx, &result))
	failed := workflow.ExecuteActivity(activities, tell, "secret", true).Get(ctx, nil)
	children := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: workflow.GetInfo(ctx).WorkflowExecution.ID + "-child", Memo: map[string]any{"note": "secret memo"}, StaticSummary: "secret summary", StaticDetails: "secret details",
	})
	steps = append(steps,
		workflow.ExecuteChildWorkflow(children, typeEverything, "secret of the parent").Get(ctx, &childs),
		workflow.SignalExternalWorkflow(ctx, "other", "", "signal", "secret signal").Get(ctx, nil))
	var signal string
	workflow.GetSignalChannel(ctx, "signal").Receive(ctx, &signal)
	if err := workflow.Await(ctx, func() bool { return len(learned) == 1 }); err != nil {
		return "", err
	}
	if err := errors.Join(steps...); err != nil {
		return "", err
	}
	return strings.Join([]string{input, effect, local, result, childs, signal, learned[0], fmt.Sprint(failed)}, ", "), nil
}

// tell is an activity that answers, or fails with what it knows.
func tell(ctx context.Context, secret string, fail bool) (string, error) {
	if info := activity.GetInfo(ctx); !info.IsLocalActivity {
		activity.RecordHeartbeat(ctx, "secret heartbeat")
	}
	if fail {
		return "", temporal.NewApplicationError("secret failure", "Failure", secret)
	}
	return "secret result", nil
}

// useEverything runs that workflow, and reads what it says.
func useEverything(ctx context.Context, t *testing.T, s *shop) {
	t.Helper()
	w := worker.New(sdk(s.conn), everythings, worker.Options{})
	w.RegisterWorkflowWithOptions(everything, workflow.RegisterOptions{Name: typeEverything})
	w.RegisterActivity(tell)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	begin := func(id string) client.WorkflowRun {
		run, err := s.conn.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
			ID: id, TaskQueue: everythings, Memo: map[string]any{"note": "secret memo"}, StaticSummary: "secret summary", StaticDetails: "secret details",
		}, typeEverything, "secret input")
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
	other := begin("other") // learns of the signal from the next
	run := begin("everything")
	if err := s.conn.SignalWorkflow(ctx, "everything", "", "signal", "secret signal"); err != nil {
		t.Fatal(err)
	}
	var got string
	for _, id := range []string{"everything", "other"} {
		update, err := s.conn.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: id, UpdateName: "update", WaitForStage: client.WorkflowUpdateStageCompleted, Args: []any{"secret update"}})
		if err == nil {
			err = update.Get(ctx, &got)
		}
		if err != nil || got != "secret answer" {
			t.Errorf("the update answers %q, %v", got, err)
		}
	}
	answer, err := s.conn.QueryWorkflow(ctx, "everything", "", "query", "secret query")
	if err != nil || answer.Get(&got) != nil || got != "secret query" {
		t.Errorf("the query answers %q, %v", got, err)
	}
	const want = "secret input, secret, secret result, secret result, secret of a child, secret signal, secret update, "
	if err := run.Get(ctx, &got); err != nil || !strings.HasPrefix(got, want) || !strings.Contains(got, "secret failure") {
		t.Errorf("the result is %q, %v", got, err)
	}
	if err := s.conn.TerminateWorkflow(ctx, other.GetID(), "", "no reason"); err != nil {
		var gone *serviceerror.NotFound
		if !errors.As(err, &gone) {
			t.Fatal(err)
		}
	}
	// Whoever looks on with the keyset sees all of it, also what belongs to the child.
	for _, id := range []string{"everything", "everything-child"} {
		described, err := s.conn.DescribeWorkflowExecution(ctx, id, "")
		if err != nil {
			t.Fatal(err)
		}
		if text := protojson.Format(described); strings.Contains(text, "encryption-key-id") || !strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(`"secret memo"`))) {
			t.Errorf("the description is %s", text)
		}
		for events := s.conn.GetWorkflowHistory(ctx, id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
			event, err := events.Next()
			if err != nil {
				t.Fatal(err)
			}
			if text := protojson.Format(event); strings.Contains(text, "encryption-problem") {
				t.Errorf("of %s there is %s", id, text)
			}
		}
	}
}

// TestOrderInAnotherNamespace: the ciphertext of an order is worth nothing in another
// namespace, or under another id. The copies wait, say why without paths, and are in
// nobody's way: neither an audit's, nor a new ledger's.
func TestOrderInAnotherNamespace(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	server, err := devserver.Start(ctx, devserver.Options{Namespaces: []string{"shop", "bank"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	keyset := newKeyset(t)
	in := func(namespace string) *shop {
		s := encryptedShop(t, client.Options{HostPort: server.Address(), Namespace: namespace}, keyset, encryption.Options{})
		s.startWorkerWith(coffee.WorkerOptions{})
		return s
	}
	here, bank := in("shop"), in("bank")
	here.Place(ctx, "1")
	here.WantCompleted(ctx, "1", 525)
	started := rawHistory(ctx, t, client.Options{HostPort: server.Address(), Namespace: "shop"}, coffee.WorkflowID("1")).GetEvents()[0].GetWorkflowExecutionStartedEventAttributes()
	for _, copied := range []struct {
		in *shop
		id string
	}{{bank, "1"}, {here, "2"}} {
		_, err := copied.in.conn.WorkflowService().StartWorkflowExecution(ctx, &workflowservice.StartWorkflowExecutionRequest{
			Namespace: copied.in.conn.Namespace, RequestId: copied.id, WorkflowId: coffee.WorkflowID(copied.id),
			WorkflowType: started.GetWorkflowType(), TaskQueue: &taskqueuepb.TaskQueue{Name: coffee.TaskQueue},
			Input: started.GetInput(), Memo: started.GetMemo(),
		})
		if err != nil {
			t.Fatal(err)
		}
		copied.in.Await(ctx, copied.id, func(view desk.OrderView) bool { return view.WorkflowTaskFailure != "" })
		view, err := copied.in.Orders.Describe(ctx, copied.id)
		if err != nil || view.WorkflowTaskFailure != "unreadable: it belongs to another workflow or namespace" || !view.Encrypted || view.Charged {
			t.Errorf("the copy is %+v, %v", view, err)
		}
		if _, err := copied.in.Orders.History(ctx, copied.id); !coffee.IsUnreadable(err) {
			t.Errorf("its history: %v", err)
		}
	}
	read, unreadable := 0, 0
	for _, err := range here.Orders.Histories(ctx, 100) {
		switch {
		case err == nil:
			read++
		case coffee.IsUnreadable(err):
			unreadable++
		default:
			t.Fatal(err)
		}
	}
	if read != 1 || unreadable != 1 {
		t.Errorf("%d histories were read, %d not", read, unreadable)
	}
}

// TestTwoKeysets: a worker with another keyset than the others is not ready, and ends once
// it has refused three orders. All orders complete, and together lose one attempt of a step
// at most; those of a stranger end nobody who has read something.
func TestTwoKeysets(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	options, ledger := testServer(t, false, zerolog.Nop()), newLedger(t)
	guarded := func(keyset *encryption.Keyset) (s *shop, guard *encryption.Guard, ended chan error) {
		guard, ended = encryption.NewGuard(coffee.WorkflowType), make(chan error, 1)
		s = encryptedShop(t, options, keyset, encryption.Options{Guard: guard})
		tuner, err := guard.Tuner(10)
		if err != nil {
			t.Fatal(err)
		}
		s.Ledger = ledger // the one of both
		stop := s.startWorkerWith(coffee.WorkerOptions{Tuner: tuner})
		go func() {
			err := guard.Wait(ctx, func(ctx context.Context) error {
				_, err := s.conn.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: options.Namespace})
				return err
			})
			if err != nil {
				stop()
			}
			ended <- err
		}()
		return s, guard, ended
	}
	wrong, unfit, wrongEnded := guarded(newKeyset(t))
	right, fit, rightEnded := guarded(newKeyset(t))
	var ids []string
	for len(wrongEnded) == 0 {
		id := coffee.NewOrderID()
		right.Place(ctx, id)
		ids = append(ids, id)
		if !sleep.For(ctx, 50*time.Millisecond) {
			t.Fatal("it does not end")
		}
	}
	if err := <-wrongEnded; !coffee.IsUnreadable(err) || unfit.Check(ctx) == nil {
		t.Errorf("it ends with %v", err)
	}
	for range 5 { // of a stranger
		wrong.Place(ctx, coffee.NewOrderID())
	}
	lost := 0
	for _, id := range ids {
		if result, err := right.Orders.Result(ctx, id); err != nil || result.Status != coffee.StatusCompleted {
			t.Errorf("order %s: %+v, %v", id, result, err)
		}
		for _, event := range rawHistory(ctx, t, options, coffee.WorkflowID(id)).GetEvents() {
			lost += int(max(1, event.GetActivityTaskStartedEventAttributes().GetAttempt()) - 1)
		}
	}
	if lost > 1 {
		t.Errorf("steps lost %d attempts", lost)
	}
	if err := fit.Check(ctx); err != nil || len(rightEnded) != 0 {
		t.Errorf("the other worker is not ready: %v", err)
	}
}

// TestCodecInABrowser: the Web UI shows an order in plain text with the codec server,
// and ciphertext without it.
func TestCodecInABrowser(t *testing.T) {
	rarely(t)
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
