package coffee

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// longestReconnectPause bounds the pause between two attempts to connect to a server
// that is away. It is most of what a worker needs to be back after the server is. The
// SDK's own is ten seconds, and so is its pause between two polls that fail.
const longestReconnectPause = time.Second

// Reconnect returns options for a client that is back soon after its server is. A long
// poll, that of a worker or of a client that waits for a result, waits for the
// connection while the server is away; by default it fails, again and again, with
// longer and longer pauses. All other requests fail at once, as by default. The log
// gets a line when a worker loses the server, and one when it is back.
//
// The options are for one client: they remember whether its server is away.
func Reconnect(log zerolog.Logger) []grpc.DialOption {
	params := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 5 * time.Second}
	params.Backoff.BaseDelay = 100 * time.Millisecond
	params.Backoff.MaxDelay = longestReconnectPause
	r := &reconnector{log: log}
	return []grpc.DialOption{grpc.WithConnectParams(params), grpc.WithChainUnaryInterceptor(r.intercept)}
}

type reconnector struct {
	log    zerolog.Logger
	failed atomic.Bool // the last poll
	told   atomic.Bool // the log says that the server is away
}

func (r *reconnector) intercept(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	byWorker, long := isLongPoll(request)
	if !long {
		return invoke(ctx, method, request, reply, conn, options...)
	}
	if r.failed.Load() {
		if byWorker && conn.GetState() != connectivity.Ready && r.told.CompareAndSwap(false, true) {
			r.log.Warn().Msg("no connection to the server: waiting for it")
		}
		if err := waitUntilReady(ctx, conn); err != nil {
			return err
		}
		r.failed.Store(false)
		if r.told.CompareAndSwap(true, false) {
			r.log.Info().Msg("connected to the server again")
		}
	}
	err := invoke(ctx, method, request, reply, conn, options...)
	if status.Code(err) == codes.Unavailable {
		r.failed.Store(true)
	}
	return err
}

// isLongPoll reports whether the server answers a request only when there is news, and
// whether it is a worker that asks.
func isLongPoll(request any) (byWorker, long bool) {
	switch request := request.(type) {
	case *workflowservice.PollWorkflowTaskQueueRequest, *workflowservice.PollActivityTaskQueueRequest:
		return true, true
	case *workflowservice.GetWorkflowExecutionHistoryRequest:
		return false, request.GetWaitNewEvent()
	}
	return false, false
}

// waitUntilReady waits until there is a connection, or the context ends.
func waitUntilReady(ctx context.Context, conn *grpc.ClientConn) error {
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.Idle:
			conn.Connect()
		}
		if !conn.WaitForStateChange(ctx, state) {
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}
