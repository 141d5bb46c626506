package dial

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/rs/zerolog"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// longestReconnectPause bounds the pause between two attempts to connect to a server
// that is away. It dominates how long a worker takes to reconnect after a restart of the
// server. The SDK's own is ten seconds, and so is its pause between two polls that fail.
const longestReconnectPause = time.Second

// Reconnect returns dial options with which a client reconnects within a second of a
// restart of its server. A long poll, that of a worker or of a client that waits for a
// result, waits for the connection while the server is away; by default it fails, again
// and again, with longer and longer pauses. All other requests fail at once, as by default.
// The log gets a line for each reason why a worker cannot connect, and one when the server
// is back.
//
// Why, unless nil, explains the error of an attempt to connect. The options are for one
// client: they remember whether its server is away.
func Reconnect(log zerolog.Logger, why func(context.Context, error) error) []grpc.DialOption {
	params := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 5 * time.Second}
	params.Backoff.BaseDelay = 100 * time.Millisecond
	params.Backoff.MaxDelay = longestReconnectPause
	r := &reconnector{log: log, why: why, told: map[string]bool{}}
	return []grpc.DialOption{grpc.WithConnectParams(params), grpc.WithChainUnaryInterceptor(r.intercept)}
}

type reconnector struct {
	log    zerolog.Logger
	why    func(context.Context, error) error
	failed atomic.Bool // the last poll

	mu   sync.Mutex
	told map[string]bool // the reasons why the server is away that the log has
}

func (r *reconnector) intercept(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	byWorker, long := isLongPoll(request)
	if !long {
		return invoke(ctx, method, request, reply, conn, options...)
	}
	for r.failed.Load() {
		state := conn.GetState()
		if state == connectivity.Ready {
			r.failed.Store(false)
			r.tellBack()
			break
		}
		if state == connectivity.TransientFailure && byWorker {
			// Without a connection this fails at once, with the reason.
			r.tell(ctx, invoke(ctx, grpc_health_v1.Health_Check_FullMethodName, &grpc_health_v1.HealthCheckRequest{}, &grpc_health_v1.HealthCheckResponse{}, conn))
		}
		conn.Connect() // if nobody has tried yet
		if !conn.WaitForStateChange(ctx, state) {
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	err := invoke(ctx, method, request, reply, conn, options...)
	if status.Code(err) == codes.Unavailable {
		r.failed.Store(true)
	}
	return err
}

// tell logs why an attempt to connect has failed, once for each reason. Texts that differ
// in numbers, such as ports and times, are the same reason.
func (r *reconnector) tell(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	reason := strings.Map(func(c rune) rune {
		if unicode.IsDigit(c) {
			return -1
		}
		return c
	}, err.Error())
	r.mu.Lock()
	known := r.told[reason]
	r.told[reason] = true
	r.mu.Unlock()
	if known {
		return
	}
	if r.why != nil {
		err = r.why(ctx, err)
	}
	r.log.Warn().Err(err).Msg("no connection to the server: waiting for it")
}

func (r *reconnector) tellBack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.told) > 0 {
		clear(r.told)
		r.log.Info().Msg("connected to the server again")
	}
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
