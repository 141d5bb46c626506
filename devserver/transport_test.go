package devserver

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// waysIn are the ways in which a client reaches a server.
var waysIn = map[string]func(*Server) client.Options{
	"socket": func(server *Server) client.Options {
		return client.Options{HostPort: server.Address(), Logger: quiet{}}
	},
	"in process": func(server *Server) client.Options {
		options := server.ClientOptions()
		options.Logger = quiet{}
		return options
	},
}

// dialInProcess connects to an address that does not exist.
func dialInProcess(t *testing.T, server *Server) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///nowhere:0", append(server.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestTransportIsLikeASocket makes the same calls through a socket and without one,
// and compares all that comes back.
func TestTransportIsLikeASocket(t *testing.T) {
	t.Parallel()
	server, _ := startTalking(t, Options{})
	socket, inProcess := dial(t, server), dialInProcess(t, server)
	const service = "/temporal.api.workflowservice.v1.WorkflowService/"
	start := func(change func(*workflowservice.StartWorkflowExecutionRequest)) *workflowservice.StartWorkflowExecutionRequest {
		request := &workflowservice.StartWorkflowExecutionRequest{Namespace: "default", WorkflowId: "it", RequestId: "1",
			WorkflowType: &commonpb.WorkflowType{Name: "patient"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "nobody"}}
		change(request)
		return request
	}
	payload := func(size int) *commonpb.Payloads {
		return &commonpb.Payloads{Payloads: []*commonpb.Payload{{Data: make([]byte, size)}}}
	}
	expired, cancel := context.WithTimeout(context.Background(), -1)
	defer cancel()
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second) // less than the two that a poll must have
		t.Cleanup(cancel)
		return ctx
	}
	for _, c := range []struct {
		name    string
		ctx     func() context.Context
		method  string
		request proto.Message
		code    codes.Code
	}{
		{"start", nil, "StartWorkflowExecution", start(func(r *workflowservice.StartWorkflowExecutionRequest) {}), codes.OK},
		{"no namespace", nil, "StartWorkflowExecution", start(func(r *workflowservice.StartWorkflowExecutionRequest) { r.Namespace = "nowhere" }), codes.NotFound},
		{"no id", nil, "StartWorkflowExecution", start(func(r *workflowservice.StartWorkflowExecutionRequest) { r.WorkflowId = "" }), codes.InvalidArgument},
		{"again, by another", nil, "StartWorkflowExecution", start(func(r *workflowservice.StartWorkflowExecutionRequest) { r.RequestId = "2" }), codes.AlreadyExists},
		{"not UTF-8", nil, "StartWorkflowExecution", start(func(r *workflowservice.StartWorkflowExecutionRequest) { r.WorkflowId = "\xff" }), codes.Internal},
		{"payload too large", nil, "StartWorkflowExecution", start(func(r *workflowservice.StartWorkflowExecutionRequest) { r.Input = payload(3 << 20) }), codes.InvalidArgument},
		{"request too large", nil, "StartWorkflowExecution", start(func(r *workflowservice.StartWorkflowExecutionRequest) { r.Input = payload(5 << 20) }), codes.ResourceExhausted},
		{"no such workflow", nil, "DescribeWorkflowExecution", &workflowservice.DescribeWorkflowExecutionRequest{Namespace: "default", Execution: &commonpb.WorkflowExecution{WorkflowId: "none"}}, codes.NotFound},
		{"no such task", nil, "RespondActivityTaskCompleted", &workflowservice.RespondActivityTaskCompletedRequest{Namespace: "default", TaskToken: []byte("x")}, codes.InvalidArgument},
		{"bad query", nil, "ListWorkflowExecutions", &workflowservice.ListWorkflowExecutionsRequest{Namespace: "default", Query: "Nothing = 1"}, codes.InvalidArgument},
		{"no retention", nil, "RegisterNamespace", &workflowservice.RegisterNamespaceRequest{Namespace: "n"}, codes.InvalidArgument},
		{"system info", nil, "GetSystemInfo", &workflowservice.GetSystemInfoRequest{}, codes.OK},
		{"no such method", nil, "MakeTea", &workflowservice.GetSystemInfoRequest{}, codes.Unimplemented},
		{"cancelled", func() context.Context { return cancelled }, "GetSystemInfo", &workflowservice.GetSystemInfoRequest{}, codes.Canceled},
		{"expired", func() context.Context { return expired }, "GetSystemInfo", &workflowservice.GetSystemInfoRequest{}, codes.DeadlineExceeded},
		{"expires in a query", short, "QueryWorkflow", &workflowservice.QueryWorkflowRequest{Namespace: "default", Execution: &commonpb.WorkflowExecution{WorkflowId: "it"}}, codes.InvalidArgument},
		{"poll without time", short, "PollWorkflowTaskQueue", &workflowservice.PollWorkflowTaskQueueRequest{Namespace: "default", TaskQueue: &taskqueuepb.TaskQueue{Name: "empty"}}, codes.FailedPrecondition},
	} {
		type answer struct {
			status  *status.Status
			body    proto.Message
			headers metadata.MD
		}
		ask := func(conn *grpc.ClientConn) (a answer) {
			ctx := context.Background()
			if c.ctx != nil {
				ctx = c.ctx()
			}
			method := service + c.method
			a.body = answerTo(method)
			var header, trailer metadata.MD
			a.status = status.Convert(conn.Invoke(ctx, method, c.request, a.body, grpc.Header(&header), grpc.Trailer(&trailer)))
			a.headers = metadata.Join(header, trailer)
			delete(a.headers, "content-type")            // of HTTP
			delete(a.headers, "grpc-status-details-bin") // what the status is sent in
			return a
		}
		first, second := ask(socket), ask(inProcess)
		if first.status.Code() != c.code {
			t.Errorf("%s: the code is %s", c.name, first.status)
		}
		if !proto.Equal(first.status.Proto(), second.status.Proto()) {
			t.Errorf("%s: the status is\n%v\n%v", c.name, first.status.Proto(), second.status.Proto())
		}
		if !proto.Equal(first.body, second.body) && c.name != "start" { // where the second one is a repetition
			t.Errorf("%s: the answer is\n%v\n%v", c.name, first.body, second.body)
		}
		if len(first.headers) != len(second.headers) {
			t.Errorf("%s: the headers are\n%v\n%v", c.name, first.headers, second.headers)
		}
	}
}

// answerTo returns an empty response of a method.
func answerTo(method string) proto.Message {
	switch method[strings.LastIndex(method, "/")+1:] {
	case "StartWorkflowExecution":
		return &workflowservice.StartWorkflowExecutionResponse{}
	default:
		return &workflowservice.GetSystemInfoResponse{}
	}
}

// TestTransportPipe checks that what is not a method of the workflow service needs
// no socket either.
func TestTransportPipe(t *testing.T) {
	t.Parallel()
	server := start(t, Options{})
	conn := dialInProcess(t, server)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	watch, err := grpc_health_v1.NewHealthClient(conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{Service: workflowservice.WorkflowService_ServiceDesc.ServiceName})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := watch.Recv(); err != nil || got.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("it says %v, %v", got, err)
	}
	if _, err := operatorservice.NewOperatorServiceClient(conn).ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: "default"}); err != nil {
		t.Error(err)
	}
}

// TestTransportStops checks that a server that stops lets calls end, ends those that
// wait, and refuses others.
func TestTransportStops(t *testing.T) {
	t.Parallel()
	server, _ := startTalking(t, Options{})
	conn := dialInProcess(t, server)
	service := workflowservice.NewWorkflowServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	queue := &taskqueuepb.TaskQueue{Name: "empty", Kind: enumspb.TASK_QUEUE_KIND_NORMAL}
	waiting := make(chan error, 1)
	go func() {
		_, err := service.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{Namespace: "default", Identity: "me", TaskQueue: queue})
		waiting <- err
	}()
	eventually(t, "the poll", func() (bool, error) {
		got, err := service.DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{Namespace: "default", TaskQueue: queue, TaskQueueType: enumspb.TASK_QUEUE_TYPE_WORKFLOW})
		return len(got.GetPollers()) == 1, err
	})
	if err := server.Stop(); err != nil {
		t.Error(err)
	}
	if err := <-waiting; ctx.Err() != nil {
		t.Errorf("the poll went on: %v", err)
	}
	if _, err := service.GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("after the stop: %v", err)
	}
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("after the stop: %v", err)
	}
}

// TestTransportDeadline checks that a caller whose context ends does not wait for
// a server that is stuck, and that the server gives a call that is stuck only some
// time when it stops.
func TestTransportDeadline(t *testing.T) {
	t.Parallel()
	transport := newTransport()
	stuck, release := make(chan struct{}), make(chan struct{})
	transport.serve(nil, stuckServer{stuck: stuck, release: release}, nil)
	invoke := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		return errors.New("it went by gRPC")
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-stuck
		cancel()
	}()
	err := transport.call(ctx, workflowservice.WorkflowService_GetSystemInfo_FullMethodName, &workflowservice.GetSystemInfoRequest{}, &workflowservice.GetSystemInfoResponse{}, nil, invoke)
	if status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	// Another caller does not wait any longer than the server gives it.
	other := make(chan error, 1)
	go func() {
		other <- transport.call(context.Background(), workflowservice.WorkflowService_GetSystemInfo_FullMethodName, &workflowservice.GetSystemInfoRequest{}, &workflowservice.GetSystemInfoResponse{}, nil, invoke)
	}()
	<-stuck
	go func() {
		if err := <-other; status.Code(err) != codes.Unavailable {
			t.Errorf("got %v", err)
		}
		close(release)
	}()
	transport.close()
	err = transport.call(context.Background(), workflowservice.WorkflowService_GetSystemInfo_FullMethodName, &workflowservice.GetSystemInfoRequest{}, &workflowservice.GetSystemInfoResponse{}, nil, invoke)
	if status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
}

// stuckServer takes no notice of a context. It says when it is stuck, and goes on
// when it is released.
type stuckServer struct {
	workflowservice.UnimplementedWorkflowServiceServer
	stuck, release chan struct{}
}

func (s stuckServer) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	s.stuck <- struct{}{}
	<-s.release
	return &workflowservice.GetSystemInfoResponse{}, nil
}
