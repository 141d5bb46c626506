package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"go.temporal.io/api/serviceerror"

	"example.com/coffee/coffee"
	"example.com/coffee/devserver"
)

// TestExitCodes: scripts rely on the codes, which docs/operating.md lists.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	interrupted, interrupt := context.WithCancel(context.Background())
	interrupt()
	for _, test := range []struct {
		what string
		ctx  context.Context
		err  error
		want int
	}{
		{"done", context.Background(), nil, 0},
		{"any failure", context.Background(), io.ErrUnexpectedEOF, 1},
		{"a taken port", context.Background(), &devserver.PortError{}, 1},
		{"wrong usage", context.Background(), &usageError{message: "no such flag"}, 2},
		{"an invalid order", context.Background(), fmt.Errorf("wrapped: %w", &coffee.InvalidOrderError{}), 2},
		{"an order without a result", context.Background(), &coffee.EndedError{}, 3},
		{"a failed order", context.Background(), &exitError{code: exitFailed}, 3},
		{"a cancelled order", context.Background(), (&ordering{}).outcome(context.Background(), coffee.OrderResult{Status: coffee.StatusCancelled}), 4},
		{"another order of the same id", context.Background(), &coffee.ConflictError{}, 5},
		{"a breach", context.Background(), &exitError{code: exitBreach}, 6},
		{"a history that does not replay", context.Background(), printReplay(&output{out: &checkedWriter{w: io.Discard}}, replayed{Broken: []broken{{}}}, false), 7},
		{"an interrupt", interrupted, context.Canceled, 130},
		{"an interrupt, as the server puts it", interrupted, serviceerror.NewCanceled("gone"), 130},
		{"a cancelled context without an interrupt", context.Background(), context.Canceled, 1},
		{"a failure besides an interrupt", interrupted, errors.New("disk full"), 1},
	} {
		var stderr bytes.Buffer
		out := &output{out: &checkedWriter{w: io.Discard}, err: &stderr}
		if got := out.fail(test.ctx, test.err); got != test.want {
			t.Errorf("%s: exit code %d, want %d", test.what, got, test.want)
		}
	}
}
