package desk

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/coffee/coffee"
)

// TestUnreadableOrAway: what the server says of itself is no matter of one order.
func TestUnreadableOrAway(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		code codes.Code
		text string
		one  bool
	}{
		"lost":                  {codes.DataLoss, "corrupt", true},
		"cannot be decoded":     {codes.Internal, "grpc: error while unmarshaling", true},
		"an id that it refuses": {codes.InvalidArgument, "WorkflowId length exceeds limit", true},
		"too large for gRPC":    {codes.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)", true},
		"overloaded":            {codes.ResourceExhausted, "namespace rate limit exceeded", false},
		"away":                  {codes.Unavailable, "connection refused", false},
		"slow":                  {codes.DeadlineExceeded, "context deadline exceeded", false},
		"denied":                {codes.PermissionDenied, "Request unauthorized", false},
	} {
		err := Unreadable("1", serviceerror.FromStatus(status.New(test.code, test.text)))
		var one *coffee.UnreadableError
		if err == nil || errors.As(err, &one) != test.one {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for err, want := range map[error]bool{
		errors.New("it is encrypted with a key that is not there"): true,
		fmt.Errorf("%w: 1", coffee.ErrNotFound):                    false,
		context.Canceled:                                           false,
		context.DeadlineExceeded:                                   false,
	} {
		var one *coffee.UnreadableError
		if got := Unreadable("1", err); errors.As(got, &one) != want || !errors.Is(got, err) {
			t.Errorf("%v: got %v", err, got)
		}
	}
}
