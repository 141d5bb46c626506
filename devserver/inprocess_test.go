package devserver

import (
	"context"
	"errors"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/api/historyservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

// healthServer is a service with one method and one stream.
type healthServer struct {
	grpc_health_v1.UnimplementedHealthServer
	check func(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error)
}

func (h healthServer) Check(ctx context.Context, request *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	return h.check(ctx, request)
}

func TestInProcess(t *testing.T) {
	t.Parallel()
	p := newInProcess(&grpc_health_v1.Health_ServiceDesc)
	const method = grpc_health_v1.Health_Check_FullMethodName
	byGRPC := errors.New("it went by gRPC")
	invoke := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return byGRPC }
	request := &grpc_health_v1.HealthCheckRequest{Service: "mine"}
	reply := &grpc_health_v1.HealthCheckResponse{}

	// Until the service has been built, calls go by gRPC.
	if err := p.call(context.Background(), method, request, reply, nil, invoke); !errors.Is(err, byGRPC) {
		t.Errorf("got %v", err)
	}
	type key struct{}
	refused := errors.New("refused")
	var outer []string
	kept := &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}
	p.serve(healthServer{check: func(ctx context.Context, got *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		if _, ok := metadata.FromOutgoingContext(ctx); ok || md.Get("caller")[0] != "me" || ctx.Value(key{}) != nil {
			t.Errorf("the metadata is %v", md)
		}
		if _, ok := ctx.Deadline(); !ok {
			t.Error("there is no deadline")
		}
		if name, _ := grpc.Method(ctx); name != method {
			t.Errorf("the method is %s", name)
		}
		if err := errors.Join(grpc.SetTrailer(ctx, metadata.Pairs("end", "1")), grpc.SetHeader(ctx, metadata.Pairs("begin", "1"))); err != nil {
			t.Error(err)
		}
		if got == request || got.GetService() != "mine" {
			t.Errorf("the request is %v", got)
		}
		got.Service = "changed"
		if md.Get("refuse") != nil {
			return nil, refused
		}
		return kept, nil
	}}, []grpc.UnaryServerInterceptor{
		func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			outer = append(outer, "first")
			return handle(ctx, request)
		},
		func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			outer = append(outer, "second")
			return handle(ctx, request)
		},
	})
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), key{}, "mine"), time.Minute)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "caller", "me")
	var header, trailer metadata.MD
	if err := p.call(ctx, method, request, reply, nil, invoke, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	if reply.GetStatus() != kept.GetStatus() || header.Get("begin") == nil || trailer.Get("end") == nil || len(outer) != 2 || outer[0] != "first" {
		t.Errorf("got %v, %v, %v, %v", reply, header, trailer, outer)
	}
	// Each end has messages of its own.
	if reply.Status = grpc_health_v1.HealthCheckResponse_NOT_SERVING; kept.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING || request.GetService() != "mine" {
		t.Errorf("they share %v, %v", kept, request)
	}
	if err := p.call(metadata.AppendToOutgoingContext(ctx, "refuse", "1"), method, request, reply, nil, invoke); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	if err := p.call(ctx, grpc_health_v1.Health_Watch_FullMethodName, request, reply, nil, invoke); !errors.Is(err, byGRPC) {
		t.Errorf("got %v", err)
	}
}

// TestServerContext checks that the context of a call ends with the client's and
// with the server's.
func TestServerContext(t *testing.T) {
	t.Parallel()
	for _, which := range []string{"client", "server"} {
		client, cancelClient := context.WithCancel(context.Background())
		server, cancelServer := context.WithCancel(context.Background())
		ctx, cancel := serverContext(server, client, &serverStream{})
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
		map[string]func(){"client": cancelClient, "server": cancelServer}[which]()
		<-ctx.Done()
		cancel()
		cancelClient()
		cancelServer()
	}
}

// TestCopyMessage copies histories, which are of one type at one end and of
// another at the other.
func TestCopyMessage(t *testing.T) {
	t.Parallel()
	raw := &historyservice.GetWorkflowExecutionHistoryResponseWithRaw{Response: &workflowservice.GetWorkflowExecutionHistoryResponse{
		NextPageToken: []byte("token"), RawHistory: []*commonpb.DataBlob{{Data: []byte("x")}},
	}}
	var decoded historyservice.GetWorkflowExecutionHistoryResponse
	if err := copyMessage(&decoded, raw); err != nil || string(decoded.GetResponse().GetNextPageToken()) != "token" {
		t.Errorf("got %v, %v", &decoded, err)
	}
	var same historyservice.GetWorkflowExecutionHistoryResponseWithRaw
	if err := copyMessage(&same, raw); err != nil {
		t.Fatal(err)
	}
	if same.Response.NextPageToken[0] = 'T'; raw.GetResponse().GetNextPageToken()[0] != 't' {
		t.Error("they share the token")
	}
}
