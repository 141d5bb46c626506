package devserver

import (
	"context"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
)

// SkipTime returns the option for a client that asks for time to be skipped in each
// workflow that it starts, and in its children: timers and the backoffs of activities
// pass at once, and the workflow's clock says that they have passed. Activities take
// the time they take. The server must have [Options.TimeSkipping]; otherwise it
// refuses to start the workflow. The option must come before those of
// [Server.DialOptions].
//
// The SDK for Go has no way to ask for it.
func SkipTime() grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		switch request := request.(type) {
		case *workflowservice.StartWorkflowExecutionRequest:
			request.TimeSkippingConfig = &commonpb.TimeSkippingConfig{Enabled: true}
		case *workflowservice.SignalWithStartWorkflowExecutionRequest:
			request.TimeSkippingConfig = &commonpb.TimeSkippingConfig{Enabled: true}
		}
		return invoke(ctx, method, request, reply, conn, options...)
	})
}
