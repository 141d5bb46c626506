package devserver

import (
	"context"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"
)

// endPolls ends requests that wait for something to happen, as soon as the
// server is told to stop. The frontend would wait a second for them to end by
// themselves, which they do not. All others run their course.
func (s *Server) endPolls(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	switch request := request.(type) {
	case *workflowservice.PollWorkflowTaskQueueRequest, *workflowservice.PollActivityTaskQueueRequest,
		*workflowservice.PollNexusTaskQueueRequest, *workflowservice.PollWorkflowExecutionUpdateRequest:
	case *workflowservice.GetWorkflowExecutionHistoryRequest:
		if !request.GetWaitNewEvent() {
			return handle(ctx, request)
		}
		handle = waitInSlices(handle)
	default:
		return handle(ctx, request)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	return handle(ctx, request)
}

// sendPlain leaves replies uncompressed. The server would do as the client does,
// and SDKs compress; between processes of one machine that is work for nothing.
func sendPlain(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	// It fails where there is no stream to compress: the HTTP API.
	_ = grpc.SetSendCompressor(ctx, encoding.Identity)
	return handle(ctx, request)
}

const (
	// firstWait is for how long a wait for a workflow's next event goes on before
	// the workflow is looked at again.
	firstWait = 50 * time.Millisecond
	// longestWait is the server's own limit to a wait for the next event
	// (history.longPollExpirationInterval), after which the client asks again.
	longestWait = 20 * time.Second
	// waitBuffer is what the server takes off a deadline to have time for its
	// answer (common.DefaultLongPollBuffer).
	waitBuffer = time.Second
)

// waitInSlices makes a wait for a workflow's next event out of several, each
// twice as long as the one before. The server tells who waits by a channel that
// holds one event; it drops the next one if that has not been taken out yet
// (NotifierImpl.dispatchHistoryEventNotification in service/history/events).
// On a server that is fast enough that happens: who waits for the result of a
// workflow would learn of it 20 s late.
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
				if expired { // a busy server: it gets more time
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
