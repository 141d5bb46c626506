package commands

import (
	"context"
	"os"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
)

// defectVariable names the environment variable that gives this test binary, run as
// coffee, a defect that a chaos run has to find. The program itself does not read
// it.
const defectVariable = "COFFEE_TEST_DEFECT"

// defects returns the dial options that give a connection the named defect.
func defects() []grpc.DialOption {
	switch os.Getenv(defectVariable) {
	case "lose-cancels":
		return []grpc.DialOption{grpc.WithChainUnaryInterceptor(loseCancels)}
	}
	return nil
}

// loseCancels acknowledges requests to cancel, and drops them.
func loseCancels(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if signal, ok := request.(*workflowservice.SignalWorkflowExecutionRequest); ok && signal.GetSignalName() == coffee.SignalCancelOrder {
		return nil
	}
	return invoke(ctx, method, request, response, conn, options...)
}
