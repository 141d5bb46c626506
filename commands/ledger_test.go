package commands

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/ledger/ledgertest"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/ledgers"
)

func newLedger(t *testing.T) ledger.Store {
	t.Helper()
	l, err := ledger.Open(context.Background(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// bind claims the ledger, as a worker does that starts.
func (s *shop) bind(l ledger.Store, begin bool) error {
	return ledger.Claim(context.Background(), s.Orders.Client, l, begin, s.Log)
}

// TestOneLedgerPerNamespace: the first worker's ledger is that of the namespace, and the
// namespace is that of the ledger, until an operator says otherwise.
func TestOneLedgerPerNamespace(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, elsewhere := newShop(t), newShop(t)
	first, second, used := s.Ledger, newLedger(t), newLedger(t)
	if _, err := used.Charge(ctx, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525}); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, err error, texts ...string) {
		t.Helper()
		if !errors.Is(err, ledger.ErrForeignLedger) {
			t.Errorf("%s: got %v", what, err)
			return
		}
		for _, text := range texts {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: got %v; it lacks %s", what, err, text)
			}
		}
	}
	accepted := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	accepted("the first worker", s.bind(first, false))
	accepted("the second one", s.bind(first, false))
	refused("another ledger", s.bind(second, false), first.ID(), second.ID(), "recorded by")
	refused("the ledger elsewhere", elsewhere.bind(first, false), "it keeps those of namespace")
	accepted("what was refused, elsewhere", elsewhere.bind(second, false))
	refused("a used ledger in its place", s.bind(used, true), first.ID(), used.ID())
	third := newLedger(t)
	accepted("an empty one in its place", s.bind(third, true))
	refused("the one before", s.bind(first, false), third.ID())
	accepted("the new one again", s.bind(third, true))
	accepted("a reader of it", ledger.CheckOwner(ctx, s.Orders.Client, third.ID(), ledger.Owner{}))
	refused("a reader of the one before", ledger.CheckOwner(ctx, s.Orders.Client, first.ID(), ledger.Owner{}))
	refused("a reader of what belongs elsewhere", ledger.CheckOwner(ctx, s.Orders.Client, third.ID(), ledger.Owner{NamespaceID: "x", Namespace: "x"}))

	if err := s.conn.TerminateWorkflow(ctx, "coffee-ledger", "", "the old ledger was found"); err != nil {
		t.Fatal(err)
	}
	accepted("the one before, after the record was terminated", s.bind(first, false))
	if views, err := s.Orders.List(ctx, desk.ListOptions{}); err != nil || len(views) != 0 {
		t.Errorf("the record is listed as an order: %v, %v", views, err)
	}
	described, err := s.conn.DescribeWorkflowExecution(ctx, "coffee-ledger", "")
	if err != nil || described.GetPendingWorkflowTask() != nil || described.GetWorkflowExecutionInfo().GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		t.Errorf("got %v, %v", described, err)
	}
}

// TestLedgersAtOnce: of workers that start at once with ledgers of their own, those with
// one ledger are accepted.
func TestLedgersAtOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	for _, begin := range []bool{false, true} { // the second time, in place of the first time's
		ledgers := []ledger.Store{newLedger(t), newLedger(t), newLedger(t)}
		bound := make([]error, 2*len(ledgers))
		var wg sync.WaitGroup
		for i := range bound {
			wg.Go(func() { bound[i] = s.bind(ledgers[i/2], begin) })
		}
		wg.Wait()
		winners := 0
		for i := range ledgers {
			one, other := bound[2*i], bound[2*i+1]
			if one == nil && other == nil {
				winners++
				continue
			}
			for _, err := range []error{one, other} {
				// A worker that looked before the new ledger was recorded may yet win against its twin.
				if err != nil && !errors.Is(err, ledger.ErrForeignLedger) {
					t.Error(err)
				}
			}
		}
		recorded, err := ledger.RecordedFor(context.Background(), s.Orders.Client)
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range ledgers {
			if err := s.bind(l, false); (err == nil) != (l.ID() == recorded.ID) {
				t.Errorf("ledger %d, of which %s is recorded: %v", i, recorded.ID, err)
			}
		}
		if !begin && winners != 1 {
			t.Errorf("%d ledgers were accepted: %v", winners, bound)
		}
	}
}

// TestLedgerWithoutPermission: where a worker may start no other workflow, the ledger alone
// knows whose it is.
func TestLedgerWithoutPermission(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	options := client.Options{HostPort: s.conn.At.Address, Namespace: s.conn.Namespace}
	options.ConnectionOptions.DialOptions = []grpc.DialOption{grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, more ...grpc.CallOption) error {
		if strings.HasSuffix(method, "/StartWorkflowExecution") {
			return serviceerror.ToStatus(serviceerror.NewPermissionDenied("no", "")).Err()
		}
		return invoke(ctx, method, request, reply, conn, more...)
	})}
	c, err := client.Dial(options)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var log bytes.Buffer
	err = ledger.Claim(context.Background(), coffee.NewClient(c, s.conn.Namespace), s.Ledger, false, zerolog.New(&log))
	if err != nil || !strings.Contains(log.String(), "does not let this worker record") {
		t.Errorf("got %v, %s", err, log.String())
	}
	if err := newShop(t).bind(s.Ledger, false); !errors.Is(err, ledger.ErrForeignLedger) {
		t.Errorf("elsewhere: got %v", err)
	}
}

// TestWaitsForTheLedger: a ledger whose PostgreSQL is not there yet is waited for. One that
// would never open is an error at once.
func TestWaitsForTheLedger(t *testing.T) {
	t.Parallel()
	where, err := url.Parse(ledgertest.PostgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	postgres := where.Host
	reserved, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	where.Host = reserved.Addr().String()
	reserved.Close()
	s := newShop(t)
	waits := make(chan string, 100)
	log := zerolog.New(writerFunc(func(line []byte) (int, error) { waits <- string(line); return len(line), nil }))
	a := &app.App{Log: log}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	opened := make(chan error, 1)
	go func() {
		l, _, err := ledgers.Open(ctx, a, ledgers.Choice{Where: where.String(), Named: true}, s.conn, false)
		if err == nil {
			err = l.Close()
		}
		opened <- err
	}()
	select {
	case line := <-waits:
		if !strings.Contains(line, "waiting for it") || !strings.Contains(line, "connection refused") {
			t.Errorf("got %s", line)
		}
	case err := <-opened:
		t.Fatalf("it did not wait: %v", err)
	}
	listener, err := net.Listen("tcp", where.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go forward(listener, postgres)
	if err := <-opened; err != nil {
		t.Error(err)
	}

	missing := *where
	missing.Path = "no_such_database"
	for _, never := range []string{missing.String(), filepath.Join(t.TempDir(), "no", "ledger.db")} {
		if _, _, err := ledgers.Open(ctx, a, ledgers.Choice{Where: never, Named: true}, s.conn, false); err == nil || ctx.Err() != nil {
			t.Errorf("%s: got %v", never, err)
		}
	}
}

// TestLedgerOfASilentServer: only a server that has no id is known by its address. One that
// does not answer would get another ledger.
func TestLedgerOfASilentServer(t *testing.T) {
	t.Parallel()
	a := app.New(io.Discard, io.Discard, app.Options{})
	for _, test := range []struct {
		err  error
		want string // in the path; empty if it is an error
	}{
		{serviceerror.NewUnimplemented("it has none"), "ledger-127.0.0.1:7233-default.db"},
		{serviceerror.NewUnavailable("it is restarting"), ""},
		{serviceerror.NewDeadlineExceeded("it is frozen"), ""},
	} {
		conn := &connect.Connection{Client: toNameless{service: nameless{err: test.err}}, At: connect.Endpoint{Address: "127.0.0.1:7233"}, Namespace: client.DefaultNamespace}
		path, err := ledgers.Path(t.Context(), a, ledgers.Choice{}, conn)
		if test.want == "" && !connect.IsAway(err) || !strings.HasSuffix(path, test.want) {
			t.Errorf("%v: got %q, %v", test.err, path, err)
		}
	}
}

// nameless is a server that does not say its id.
type nameless struct {
	workflowservice.WorkflowServiceClient
	err error
}

// toNameless is a client of it.
type toNameless struct {
	client.Client
	service nameless
}

func (c toNameless) WorkflowService() workflowservice.WorkflowServiceClient { return c.service }

func (n nameless) GetClusterInfo(context.Context, *workflowservice.GetClusterInfoRequest, ...grpc.CallOption) (*workflowservice.GetClusterInfoResponse, error) {
	return nil, n.err
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// forward forwards the connections of a listener to an address.
func forward(listener net.Listener, address string) {
	for {
		from, err := listener.Accept()
		if err != nil {
			return
		}
		to, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			from.Close()
			continue
		}
		go func() { io.Copy(to, from); to.Close() }()
		go func() { io.Copy(from, to); from.Close() }()
	}
}
