package commands

import (
	"context"
	"os"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
)

// defectVariable names the environment variable that gives this test binary, run as
// coffee, a defect that a chaos run has to find; the program itself knows nothing of
// it.
const defectVariable = "COFFEE_TEST_DEFECT"

// defects are the options of connections that have a defect, by its name.
func defects() []grpc.DialOption {
	switch os.Getenv(defectVariable) {
	case "lose-cancels":
		return []grpc.DialOption{grpc.WithChainUnaryInterceptor(loseCancels)}
	}
	return nil
}

// loseCancels acknowledges requests to cancel, and loses them.
func loseCancels(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if signal, ok := request.(*workflowservice.SignalWorkflowExecutionRequest); ok && signal.GetSignalName() == coffee.SignalCancelOrder {
		return nil
	}
	return invoke(ctx, method, request, response, conn, options...)
}
