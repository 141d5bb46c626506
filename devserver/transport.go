//go:build !noserver

package devserver

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// transport carries the calls of clients in this process to the frontend. A call
// behaves as if it came through a socket: both ends have messages of their own, what
// cannot be sent is refused, and a caller whose context ends waits no longer,
// whatever the server is doing. It costs an encoding and a goroutine.
//
// What is not a method of the workflow service, such as a health check, goes by
// gRPC over a pipe in memory.
type transport struct {
	*inProcess
	server *grpc.Server // serves the pipe
	// ending is cancelled when calls have had their time to end.
	ending context.Context
	end    context.CancelFunc

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup

	goroutines goroutines
}

const (
	// maxRequest is the size in bytes of the largest request that a gRPC server
	// takes if nothing else is said (defaultServerMaxReceiveMessageSize in
	// google.golang.org/grpc), and Temporal's says nothing.
	maxRequest = 4 << 20
	// drainTime is how long calls may take to end by themselves when the server
	// stops, as in the frontend's own Stop.
	drainTime = time.Second
)

var errStopped = status.Error(codes.Unavailable, "the server has stopped")

func newTransport() *transport {
	t := &transport{inProcess: newInProcess(&workflowservice.WorkflowService_ServiceDesc)}
	t.ending, t.end = context.WithCancel(context.Background())
	return t
}

// call is the innermost interceptor of a client. Its errors are those of gRPC.
func (t *transport) call(ctx context.Context, name string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	handle := t.method(name)
	if handle == nil {
		return invoke(ctx, name, request, reply, conn, options...)
	}
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	sent, err := proto.Marshal(request.(proto.Message))
	if err != nil {
		return status.Errorf(codes.Internal, "grpc: error while marshaling: %v", err)
	}
	if len(sent) > maxRequest {
		return status.Errorf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)", len(sent), maxRequest)
	}
	if !t.begin() {
		return errStopped
	}
	stream := &serverStream{method: name}
	server, cancel := serverContext(t.ending, ctx, stream)
	var received []byte
	ended := make(chan error, 1)
	t.goroutines.run(func() {
		defer t.calls.Done()
		defer cancel()
		response, err := handle(server, func(into any) error { return proto.Unmarshal(sent, into.(proto.Message)) })
		if err == nil {
			received, err = proto.Marshal(response.(proto.Message))
		}
		ended <- err
	})
	select {
	case err = <-ended:
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-t.ending.Done():
		select {
		case err = <-ended:
		default: // the call goes on, or a fatal error has ended its goroutine
			return errStopped
		}
	}
	stream.copyTo(options)
	if err != nil {
		return asStatus(err)
	}
	return proto.Unmarshal(received, reply.(proto.Message))
}

// begin reports whether a call may begin.
func (t *transport) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.calls.Add(1)
	}
	return !t.closed
}

// close refuses further calls, and returns when the others have ended.
func (t *transport) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	defer time.AfterFunc(drainTime, t.end).Stop()
	t.calls.Wait()
	t.end()
	t.goroutines.close()
}

// asStatus returns what a client of a gRPC server sees of an error.
func asStatus(err error) error {
	s, ok := status.FromError(err)
	if !ok {
		s = status.FromContextError(err)
	}
	return s.Err()
}

// serve sets what serves the calls, when the frontend has been built.
func (t *transport) serve(server *grpc.Server, frontend any, interceptors []grpc.UnaryServerInterceptor) {
	t.server = server
	t.inProcess.serve(frontend, interceptors)
}

// servePipe serves the pipe until the frontend stops. The frontend must have
// started, because a gRPC server that serves takes no more services.
func (t *transport) servePipe() error {
	if err := t.server.Serve(t.listener); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// goroutines runs functions, each in a goroutine. It keeps some goroutines to run
// others: Temporal's handlers need large stacks, which a new goroutine has to grow.
// The zero value is ready to use.
type goroutines struct {
	mu     sync.Mutex
	closed bool
	idle   []chan func() // of goroutines that wait for work
}

// maxIdle is how many goroutines are kept.
const maxIdle = 64

func (g *goroutines) run(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if last := len(g.idle) - 1; last >= 0 {
		g.idle[last] <- f
		g.idle = g.idle[:last]
		return
	}
	go func() {
		work := make(chan func(), 1)
		for ok := true; ok; f, ok = <-work {
			f()
			g.park(work)
		}
	}()
}

// park puts a goroutine among the idle ones, or ends it.
func (g *goroutines) park(work chan func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || len(g.idle) == maxIdle {
		close(work)
		return
	}
	g.idle = append(g.idle, work)
}

// close ends the idle goroutines. Those that run a function end after it.
func (g *goroutines) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, work := range g.idle {
		close(work)
	}
	g.idle = nil
}
