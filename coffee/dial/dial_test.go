package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
)

// oddServer is a Temporal server whose answers the test makes up.
type oddServer struct {
	workflowservice.UnimplementedWorkflowServiceServer
	list     func(token string) *workflowservice.ListWorkflowExecutionsResponse
	history  func(workflowID, token string) (*workflowservice.GetWorkflowExecutionHistoryResponse, error)
	describe func(ctx context.Context, workflowID string) *workflowservice.DescribeWorkflowExecutionResponse
}

func (s *oddServer) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{Capabilities: &workflowservice.GetSystemInfoResponse_Capabilities{InternalErrorDifferentiation: true}}, nil
}

func (s *oddServer) ListWorkflowExecutions(_ context.Context, r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	return s.list(string(r.GetNextPageToken())), nil
}

func (s *oddServer) GetWorkflowExecutionHistory(_ context.Context, r *workflowservice.GetWorkflowExecutionHistoryRequest) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	return s.history(r.GetExecution().GetWorkflowId(), string(r.GetNextPageToken()))
}

func (s *oddServer) DescribeWorkflowExecution(ctx context.Context, r *workflowservice.DescribeWorkflowExecutionRequest) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	return s.describe(ctx, r.GetExecution().GetWorkflowId()), nil
}

// ordersOn returns a client of a server, on a connection with the package's option.
func ordersOn(t *testing.T, s *oddServer) *desk.Client {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(server, s)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	c, err := client.NewLazyClient(client.Options{HostPort: listener.Addr().String(), Logger: NewLogger(zerolog.Nop()),
		ConnectionOptions: client.ConnectionOptions{DialOptions: []grpc.DialOption{Guarded()}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return desk.NewClient(c, client.DefaultNamespace)
}

// TestServerSays: what a server says of its being unavailable differs from a connection that
// cannot be made.
func TestServerSays(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(server, &oddServer{history: func(string, string) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
		return nil, status.Error(codes.Unavailable, "its database is away")
	}})
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), Guarded())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask := func() error {
		_, err := workflowservice.NewWorkflowServiceClient(conn).GetWorkflowExecutionHistory(context.Background(), &workflowservice.GetWorkflowExecutionHistoryRequest{})
		return err
	}
	if err := ask(); status.Code(err) != codes.Unavailable || status.Convert(err).Message() != ServerSays+"its database is away" {
		t.Errorf("of the server: %v", err)
	}
	server.Stop()
	if err := ask(); status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), ServerSays) {
		t.Errorf("of the connection: %v", err)
	}
}

// TestForeignIDs: the SDK puts ids into headers, where gRPC takes only printable ASCII. An
// order of another program is found under whatever id it has.
func TestForeignIDs(t *testing.T) {
	t.Parallel()
	for id, header := range map[string]string{
		"123":                    "workflow:order-123",
		"100%":                   "workflow:order-100%",
		"café":                   "workflow:order-caf%C3%A9",
		"café 100%":              "workflow:order-caf%C3%A9%20100%25",
		"a\nb\tc":                "workflow:order-a%0Ab%09c",
		"\u202egnp.exe":          "workflow:order-%E2%80%AEgnp.exe",
		"\x7f":                   "workflow:order-%7F",
		strings.Repeat("x", 900): "workflow:order-" + strings.Repeat("x", 900),
	} {
		orders := ordersOn(t, &oddServer{describe: func(ctx context.Context, workflowID string) *workflowservice.DescribeWorkflowExecutionResponse {
			headers, _ := metadata.FromIncomingContext(ctx)
			if got := strings.Join(headers.Get("temporal-resource-id"), " "); got != header || workflowID != "order-"+id {
				t.Errorf("%q: the server got workflow id %q, header %q", id, workflowID, got)
			}
			return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{Status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING}}
		}})
		if waits, err := orders.Waiting(t.Context(), id); err != nil || waits.Diagnosis != "" {
			t.Errorf("%q: got %v, %v", id, waits, err)
		}
	}
}

// TestOddPages: a server whose pages do not come to an end gets an error, not another
// request.
func TestOddPages(t *testing.T) {
	t.Parallel()
	execution := func(id string) *workflowpb.WorkflowExecutionInfo {
		return &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: "order-" + id, RunId: "run"}}
	}
	for name, list := range map[string]func(token string) (next string, empty bool){
		"empty pages, always the same": func(string) (string, bool) { return "a", true },
		"empty pages, ever new":        func(token string) (string, bool) { return token + "a", true },
		"always the same page":         func(string) (string, bool) { return "a", false },
		"two pages in turn":            func(token string) (string, bool) { return map[string]string{"": "a", "a": "b", "b": "a"}[token], false },
		"an empty page in the middle":  func(token string) (string, bool) { return map[string]string{"": "a", "a": "b"}[token], token == "a" },
		"three pages in turn, after it": func(token string) (string, bool) {
			return map[string]string{"": "a", "a": "b", "b": "c", "c": "a"}[token], false
		},
	} {
		orders := ordersOn(t, &oddServer{list: func(token string) *workflowservice.ListWorkflowExecutionsResponse {
			next, empty := list(token)
			page := &workflowservice.ListWorkflowExecutionsResponse{NextPageToken: []byte(next)}
			if !empty {
				page.Executions = []*workflowpb.WorkflowExecutionInfo{execution("1")}
			}
			return page
		}})
		var err error
		for _, err = range orders.Executions(t.Context(), "", 0, 1) {
		}
		if err == nil {
			t.Errorf("%s: there was an end", name)
		}
	}
}

// TestOddHistories: a history that is cut, repeats itself or has no end cannot be read,
// and that is a matter of its order alone.
func TestOddHistories(t *testing.T) {
	t.Parallel()
	const perPage = 1000
	page := func(from int64, next string) *workflowservice.GetWorkflowExecutionHistoryResponse {
		response := &workflowservice.GetWorkflowExecutionHistoryResponse{History: &historypb.History{}, NextPageToken: []byte(next)}
		for id := from; id < from+perPage; id++ {
			response.History.Events = append(response.History.Events, &historypb.HistoryEvent{EventId: id})
		}
		return response
	}
	empty := func(next string) *workflowservice.GetWorkflowExecutionHistoryResponse {
		return &workflowservice.GetWorkflowExecutionHistoryResponse{History: &historypb.History{}, NextPageToken: []byte(next)}
	}
	large := page(1, "")
	for _, event := range large.History.Events[:perPage/2] {
		event.Attributes = &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{
			Input: &commonpb.Payloads{Payloads: []*commonpb.Payload{{Data: make([]byte, 100<<20/perPage*2)}}},
		}}
	}
	for name, history := range map[string]func(token string) (*workflowservice.GetWorkflowExecutionHistoryResponse, error){
		"empty": func(string) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) { return empty(""), nil },
		"empty, without end": func(token string) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
			return empty(token + "a"), nil
		},
		"an empty page": func(token string) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
			if token == "" {
				return page(1, "a"), nil
			}
			return empty("b"), nil
		},
		"the same page again": func(token string) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
			return page(1, token+"a"), nil
		},
		"the first is lost": func(string) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) { return page(2, ""), nil },
		"without end": func(token string) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
			var n int64
			_, _ = fmt.Sscan(token, &n)
			return page(n*perPage+1, fmt.Sprint(n+1)), nil
		},
		"not decodable": func(string) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
			return nil, status.Error(codes.Internal, "grpc: error while unmarshaling: proto: cannot parse invalid wire-format data")
		},
		"lost": func(string) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
			return nil, status.Error(codes.DataLoss, "corrupt")
		},
	} {
		orders := ordersOn(t, &oddServer{
			list: func(string) *workflowservice.ListWorkflowExecutionsResponse {
				return &workflowservice.ListWorkflowExecutionsResponse{Executions: []*workflowpb.WorkflowExecutionInfo{
					{Execution: &commonpb.WorkflowExecution{WorkflowId: "order-odd", RunId: "run-1"}},
					{Execution: &commonpb.WorkflowExecution{WorkflowId: "order-good", RunId: "run-2"}},
				}}
			},
			history: func(workflowID, token string) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
				if workflowID == "order-good" {
					return page(1, ""), nil
				}
				return history(token)
			},
		})
		var got []string
		for history, err := range orders.HistoriesOf(t.Context(), "", 0) {
			var one *coffee.UnreadableError
			switch {
			case errors.As(err, &one):
				got = append(got, one.OrderID+" is unreadable")
			case err != nil:
				t.Errorf("%s: %v", name, err)
			default:
				got = append(got, fmt.Sprintf("%s has %d events", history.OrderID, len(history.Events)))
			}
		}
		if got, want := strings.Join(got, ", "), "odd is unreadable, good has 1000 events"; got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
