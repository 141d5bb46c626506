//go:build unix && !noserver

package simulation

import (
	"context"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// beat is the answer to a heartbeat.
type beat struct {
	reply proto.Message
	err   error
}

// heartbeatTimeout is how long a heartbeat may be on its way.
const heartbeatTimeout = 10 * time.Second

// heartbeat sends a heartbeat, and returns at once with the answer to the one before of the
// same task. The SDK holds a mutex meanwhile (temporalInvoker), and a goroutine that waited
// for that would stop the clock. An error that the SDK would try again under its mutex
// becomes one that it does not.
func (n *Node) heartbeat(ctx context.Context, method string, request *workflowservice.RecordActivityTaskHeartbeatRequest, reply proto.Message) error {
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	token := string(request.GetTaskToken())
	n.mu.Lock()
	before := n.beats[token]
	delete(n.beats, token)
	n.mu.Unlock()
	sent, answer := proto.Clone(request), proto.Clone(reply)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeatTimeout)
		defer cancel()
		err := n.exchange(ctx, method, sent, answer, nil)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.beats[token] = &beat{answer, err}
	}()
	if before == nil {
		return nil
	}
	switch status.Code(before.err) {
	case codes.OK:
		proto.Merge(reply, before.reply)
		return nil
	case codes.NotFound, codes.InvalidArgument, codes.FailedPrecondition, codes.PermissionDenied:
		return before.err
	}
	return status.Error(codes.DeadlineExceeded, status.Convert(before.err).Message())
}
