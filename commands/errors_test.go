package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"go.temporal.io/api/serviceerror"

	"example.com/coffee/coffee"
	"example.com/coffee/commands/internal/findings"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/exit"
)

// TestLateAnswer: a server that answered before, and then does not, may have a full disk.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	if code, hint := terminal.Explain(fmt.Errorf("order 1: %w", serviceerror.NewDeadlineExceeded("context deadline exceeded"))); code != 1 || !strings.Contains(hint, "such as a full disk") {
		t.Errorf("%d, %q", code, hint)
	}
}

// TestPortHint: another port does not help where no file can be opened.
func TestPortHint(t *testing.T) {
	t.Parallel()
	for cause, want := range map[syscall.Errno]string{
		syscall.EADDRINUSE:    "choose another port with --port, or stop",
		syscall.EMFILE:        "ulimit -n",
		syscall.EADDRNOTAVAIL: "choose an address",
		syscall.ENETUNREACH:   "bring the network interface",
	} {
		if got := terminal.PortHint("--port", fmt.Errorf("cannot listen: %w", cause)); !strings.Contains(got, want) {
			t.Errorf("%v: %q, want %q", cause, got, want)
		}
	}
}

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
		{"wrong usage", context.Background(), exit.Usagef("", "%s", "no such flag"), 2},
		{"an invalid order", context.Background(), fmt.Errorf("wrapped: %w", &coffee.InvalidOrderError{}), 2},
		{"an order without a result", context.Background(), &coffee.EndedError{}, 3},
		{"a failed order", context.Background(), &exit.Error{Code: exit.Failed}, 3},
		{"a cancelled order", context.Background(), (&ordering{}).outcome(coffee.OrderResult{Status: coffee.StatusCancelled}), 4},
		{"another order of the same id", context.Background(), &coffee.ConflictError{}, 5},
		{"a breach", context.Background(), &exit.Error{Code: exit.Breach}, 6},
		{"a history that does not replay", context.Background(), findings.PrintReplay(&terminal.Output{Out: &terminal.CheckedWriter{W: io.Discard}}, findings.Replayed{Broken: []findings.Broken{{}}}, false), 7},
		{"an interrupt", interrupted, context.Canceled, 130},
		{"an interrupt, as the server puts it", interrupted, serviceerror.NewCanceled("gone"), 130},
		{"a cancelled context without an interrupt", context.Background(), context.Canceled, 1},
		{"a failure besides an interrupt", interrupted, errors.New("disk full"), 1},
	} {
		var stderr bytes.Buffer
		out := &terminal.Output{Out: &terminal.CheckedWriter{W: io.Discard}, Err: &stderr}
		if got := out.Fail(test.ctx, test.err); got != test.want {
			t.Errorf("%s: exit code %d, want %d", test.what, got, test.want)
		}
	}
}
