//go:build !noserver

package devserver

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/common/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"
)

// endPolls ends requests that wait for something to happen as soon as the server
// is told to stop. The frontend would wait a second for them to end by themselves,
// which they do not. All other requests run to completion.
func (s *Server) endPolls(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if !polls(info.FullMethod, request) {
		return handle(ctx, request)
	}
	if _, ok := request.(*workflowservice.GetWorkflowExecutionHistoryRequest); ok {
		handle = waitInSlices(handle)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	return handle(ctx, request)
}

// polls reports whether a request waits for something to happen: always, or because it
// says so.
func polls(method string, request any) bool {
	switch api.GetMethodMetadata(method).Polling {
	case api.PollingAlways:
		return true
	case api.PollingCapable:
		switch request := request.(type) {
		case interface{ GetWaitNewEvent() bool }:
			return request.GetWaitNewEvent()
		case interface{ GetLongPollToken() []byte }:
			return len(request.GetLongPollToken()) > 0
		}
	}
	return false
}

// withoutStickyBacklog leaves out of a workflow task how many others wait in its
// worker's sticky queue. As long as the SDK for Go believes that there are some, all
// its pollers ask for them (getNextPollRequest in internal_task_pollers.go). Replies
// overtake each other, so the last thing that it hears can be that there is one when
// there is none. Every new workflow then waits, for up to ten seconds, until one of
// those polls returns.
func withoutStickyBacklog(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	response, err := handle(ctx, request)
	if err != nil { // the response is a nil of its type then
		return nil, err
	}
	task, ok := response.(*workflowservice.PollWorkflowTaskQueueResponse)
	if ok && request.(*workflowservice.PollWorkflowTaskQueueRequest).GetTaskQueue().GetKind() == enumspb.TASK_QUEUE_KIND_STICKY {
		task.BacklogCountHint = 0
	}
	return response, nil
}

// sendPlain leaves replies uncompressed. By default the server does as the client
// does, and SDKs compress. Between processes on one machine that is wasted work.
func sendPlain(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	// This fails for the HTTP API, which has no stream to compress.
	_ = grpc.SetSendCompressor(ctx, encoding.Identity)
	return handle(ctx, request)
}

const (
	// firstWait is how long a request waits for a workflow's next event before it
	// looks at the workflow again.
	firstWait = 50 * time.Millisecond
	// longestWait is the server's own limit on a wait for the next event
	// (history.longPollExpirationInterval), after which the client asks again.
	longestWait = 20 * time.Second
	// waitBuffer is what the server subtracts from a deadline, to have time to
	// answer (common.DefaultLongPollBuffer).
	waitBuffer = time.Second
)

// waitInSlices splits a wait for a workflow's next event into several, each twice
// as long as the one before. The server notifies a waiting request through a
// channel that holds one event, and drops the next event if the first has not been
// received yet (NotifierImpl.dispatchHistoryEventNotification in
// service/history/events). That happens on a server that is fast enough: a client
// that waits for the result of a workflow would learn of it 20 s late.
func waitInSlices(handle grpc.UnaryHandler) grpc.UnaryHandler {
	return func(ctx context.Context, request any) (any, error) {
		end := time.Now().Add(longestWait)
		for wait := firstWait; ; wait *= 2 {
			if wait >= time.Until(end) {
				return handle(ctx, request)
			}
			slice, cancel := context.WithTimeout(ctx, wait+waitBuffer)
			response, err := handle(slice, request)
			expired := slice.Err() != nil && ctx.Err() == nil
			cancel()
			if err != nil {
				if expired { // the server is busy: give it more time
					continue
				}
				return nil, err
			}
			history, ok := response.(*workflowservice.GetWorkflowExecutionHistoryResponse)
			if !ok || len(history.GetHistory().GetEvents()) > 0 || len(history.GetRawHistory()) > 0 || len(history.GetNextPageToken()) == 0 {
				return response, nil
			}
			next := proto.CloneOf(request.(*workflowservice.GetWorkflowExecutionHistoryRequest))
			next.NextPageToken = history.GetNextPageToken()
			request = next
		}
	}
}
