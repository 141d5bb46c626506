// Package dial is how a program gets along with a Temporal server that others use as well: its
// client comes back soon after the server does, survives odd ids and endless pages, and logs
// to zerolog; its worker sends only errors that the server takes.
package dial

import (
	"bytes"
	"context"
	"net/url"
	"slices"
	"strings"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Guarded returns an option for a client's connection to a server that others use as
// well. Their workflows may have any id, which the SDK puts into headers: those that gRPC
// would refuse are escaped. And a server that never comes to the end of a list or a
// history gets an error, not another request. An answer that the server is unavailable, such
// as while its database is away, begins with [ServerSays]: the same error without it is that
// of a connection.
//
// The option must be one of the client's dial options, which come after the SDK's own
// interceptors: only there the headers are complete.
func Guarded() grpc.DialOption { return grpc.WithChainUnaryInterceptor(guard) }

func guard(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	var header, trailer metadata.MD
	err := invoke(withPlainHeaders(ctx), method, request, reply, conn, append(slices.Clip(options), grpc.Header(&header), grpc.Trailer(&trailer))...)
	if status.Code(err) == codes.Unavailable && len(header)+len(trailer) > 0 {
		said := status.Convert(err).Proto()
		said.Message = ServerSays + said.GetMessage()
		return status.ErrorProto(said)
	}
	if err != nil {
		return err
	}
	return checkPage(request, reply)
}

// ServerSays begins the text of an error Unavailable that the server has sent.
const ServerSays = "the server says: "

// headerPrefix begins the names of the headers in which the SDK tells proxies what a
// request is about.
const headerPrefix = "temporal-"

// withPlainHeaders returns a context whose outgoing Temporal headers are printable ASCII,
// which is what gRPC takes. Others are escaped as in a URL, so that different ids stay different.
func withPlainHeaders(ctx context.Context) context.Context {
	headers, _ := metadata.FromOutgoingContext(ctx) // a copy
	for name, values := range headers {
		for i, value := range values {
			if strings.HasPrefix(name, headerPrefix) && strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
				values[i] = url.PathEscape(value)
			}
		}
	}
	return metadata.NewOutgoingContext(ctx, headers)
}

// checkPage returns an error if a page of a list or a history does not lead on: it is
// empty and not the last one, or the next page is the same one again.
func checkPage(request, reply any) error {
	var empty bool
	switch reply := reply.(type) {
	case *workflowservice.GetWorkflowExecutionHistoryResponse:
		if _, waits := isLongPoll(request); waits {
			return nil // there may be no news yet
		}
		empty = len(reply.GetHistory().GetEvents()) == 0 && len(reply.GetRawHistory()) == 0
	case *workflowservice.ListWorkflowExecutionsResponse:
		empty = len(reply.GetExecutions()) == 0
	default:
		return nil
	}
	type page interface{ GetNextPageToken() []byte } // each request and reply of the two kinds
	next := reply.(page).GetNextPageToken()
	switch {
	case len(next) == 0:
		return nil
	case empty:
		return status.Error(codes.DataLoss, "the server sent an empty page, and says that more follow")
	case bytes.Equal(request.(page).GetNextPageToken(), next):
		return status.Error(codes.DataLoss, "the server sent the same page again")
	}
	return nil
}
