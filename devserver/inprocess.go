//go:build !noserver

package devserver

import (
	"context"
	"net"
	"slices"
	"sync/atomic"

	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/service"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
)

// inProcess is a service whose clients are in the same process. Their requests are
// calls of its methods: no socket, no encoding, no other goroutine. What is not
// among the methods in desc, above all its streams, goes by gRPC over a pipe in
// memory.
type inProcess struct {
	desc     *grpc.ServiceDesc
	listener *bufconn.Listener
	methods  atomic.Pointer[map[string]method] // nil until the service has been built
}

// method is a method of the service behind its interceptors.
type method func(ctx context.Context, decode func(any) error) (any, error)

func newInProcess(desc *grpc.ServiceDesc) *inProcess {
	return &inProcess{desc: desc, listener: bufconn.Listen(1 << 20)}
}

// serve sets the methods, when the service has been built.
func (p *inProcess) serve(server any, interceptors []grpc.UnaryServerInterceptor) {
	intercept := chain(interceptors)
	methods := make(map[string]method, len(p.desc.Methods))
	for _, m := range p.desc.Methods {
		methods["/"+p.desc.ServiceName+"/"+m.MethodName] = func(ctx context.Context, decode func(any) error) (any, error) {
			return m.Handler(server, ctx, decode, intercept)
		}
	}
	p.methods.Store(&methods)
}

// dialOptions returns the options for the service's clients, whose requests are made
// by call: that of this type or one like it.
func (p *inProcess) dialOptions(call grpc.UnaryClientInterceptor) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return p.listener.DialContext(ctx) }),
		grpc.WithChainUnaryInterceptor(call),
	}
}

// call is the innermost interceptor of the service's clients: it stands in for
// the connection.
func (p *inProcess) call(ctx context.Context, name string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	handle := p.method(name)
	if handle == nil {
		return invoke(ctx, name, request, reply, conn, options...)
	}
	stream := &serverStream{method: name}
	ctx, cancel := serverContext(context.Background(), ctx, stream)
	defer cancel()
	response, err := handle(ctx, func(into any) error { return copyMessage(into, request) })
	stream.copyTo(options)
	if err != nil {
		return err
	}
	return copyMessage(reply, response)
}

// method returns a method by its full name, or nil if a call of it has to go by
// gRPC.
func (p *inProcess) method(name string) method {
	methods := p.methods.Load()
	if methods == nil {
		return nil
	}
	return (*methods)[name]
}

// serverContext returns the context that would arrive at the other end of a
// connection, with the client's deadline and metadata. It ends when the context of
// the server or the client does.
func serverContext(server, client context.Context, stream grpc.ServerTransportStream) (context.Context, context.CancelFunc) {
	var cancel context.CancelFunc
	if deadline, ok := client.Deadline(); ok {
		server, cancel = context.WithDeadline(server, deadline)
	} else {
		server, cancel = context.WithCancel(server)
	}
	stop := context.AfterFunc(client, cancel)
	if md, ok := metadata.FromOutgoingContext(client); ok {
		server = metadata.NewIncomingContext(server, md)
	}
	return grpc.NewContextWithServerTransportStream(server, stream), func() {
		stop()
		cancel()
	}
}

// copyMessage sets into to a copy of from. The two share nothing, because both
// ends of a call may go on changing their own. They may be of different types with
// the same encoding: the server has types for histories that are not decoded.
func copyMessage(into, from any) error {
	dst, src := into.(proto.Message), from.(proto.Message)
	if dst.ProtoReflect().Type() == src.ProtoReflect().Type() {
		proto.Merge(dst, src)
		return nil
	}
	data, err := proto.Marshal(src)
	if err != nil {
		return err
	}
	return proto.Unmarshal(data, dst)
}

// serverStream holds a call's header and trailer.
type serverStream struct {
	method          string
	header, trailer metadata.MD
}

func (s *serverStream) Method() string { return s.method }

func (s *serverStream) SetHeader(md metadata.MD) error {
	s.header = metadata.Join(s.header, md)
	return nil
}

func (s *serverStream) SendHeader(md metadata.MD) error { return s.SetHeader(md) }

func (s *serverStream) SetTrailer(md metadata.MD) error {
	s.trailer = metadata.Join(s.trailer, md)
	return nil
}

// copyTo sets what a caller asked for with [grpc.Header] and [grpc.Trailer].
func (s *serverStream) copyTo(options []grpc.CallOption) {
	for _, option := range options {
		switch option := option.(type) {
		case grpc.HeaderCallOption:
			*option.HeaderAddr = s.header
		case grpc.TrailerCallOption:
			*option.TrailerAddr = s.trailer
		}
	}
}

// serviceInterceptors returns the interceptors of a service's gRPC server, in
// their order (service.GrpcServerOptionsProvider).
func serviceInterceptors(p service.GrpcServerOptionsParams) []grpc.UnaryServerInterceptor {
	interceptors := []grpc.UnaryServerInterceptor{
		p.ServiceErrorInterceptor.Intercept,
		metrics.NewServerMetricsContextInjectorInterceptor(),
		metrics.NewServerMetricsTrailerPropagatorInterceptor(p.Logger),
		p.TelemetryInterceptor.UnaryIntercept,
	}
	interceptors = append(interceptors, p.AdditionalInterceptors...)
	if p.NamespaceRateLimitInterceptor != nil {
		interceptors = append(interceptors, p.NamespaceRateLimitInterceptor.Intercept)
	}
	interceptors = append(interceptors, p.RateLimitInterceptor.Intercept)
	if p.ContextMetadataInterceptor != nil {
		interceptors = append(interceptors, p.ContextMetadataInterceptor.Intercept)
	}
	return append(interceptors, p.RetryableInterceptor.Intercept)
}

// chain combines interceptors into one. The first is the outermost.
func chain(interceptors []grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		for _, intercept := range slices.Backward(interceptors) {
			next := handle
			handle = func(ctx context.Context, request any) (any, error) { return intercept(ctx, request, info, next) }
		}
		return handle(ctx, request)
	}
}
