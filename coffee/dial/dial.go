// Package dial is how a program gets along with a Temporal server that others use as well: its
// client comes back soon after the server does, survives odd ids and endless pages, and logs
// to zerolog; its worker sends only errors that the server takes.
package dial

import (
	"bytes"
	"context"
	"fmt"
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

// withPlainHeaders returns a context whose outgoing Temporal headers are printable ASCII.
func withPlainHeaders(ctx context.Context) context.Context {
	headers, _ := metadata.FromOutgoingContext(ctx) // a copy
	changed := false
	for name, values := range headers {
		if !strings.HasPrefix(name, headerPrefix) {
			continue
		}
		for i, value := range values {
			if !isPlain(value) {
				values[i], changed = escapeHeader(value), true
			}
		}
	}
	if !changed {
		return ctx
	}
	return metadata.NewOutgoingContext(ctx, headers)
}

// isPlain reports whether gRPC takes a text as the value of a header.
func isPlain(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// escapeHeader escapes a text as in a URL, so that different ids stay different.
func escapeHeader(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// checkPage returns an error if a page of a list or a history does not lead on: it is
// empty and not the last one, or the next page is the same one again.
func checkPage(request, reply any) error {
	var token, next []byte
	var empty bool
	switch reply := reply.(type) {
	case *workflowservice.GetWorkflowExecutionHistoryResponse:
		request, ok := request.(*workflowservice.GetWorkflowExecutionHistoryRequest)
		if !ok || request.GetWaitNewEvent() {
			return nil // it waits for news, and there are none yet
		}
		token, next = request.GetNextPageToken(), reply.GetNextPageToken()
		empty = len(reply.GetHistory().GetEvents()) == 0 && len(reply.GetRawHistory()) == 0
	case *workflowservice.ListWorkflowExecutionsResponse:
		request, ok := request.(*workflowservice.ListWorkflowExecutionsRequest)
		if !ok {
			return nil
		}
		token, next = request.GetNextPageToken(), reply.GetNextPageToken()
		empty = len(reply.GetExecutions()) == 0
	}
	switch {
	case len(next) == 0:
		return nil
	case empty:
		return status.Error(codes.DataLoss, "the server sent an empty page, and says that more follow")
	case bytes.Equal(token, next):
		return status.Error(codes.DataLoss, "the server sent the same page again")
	}
	return nil
}
