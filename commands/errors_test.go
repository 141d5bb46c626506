package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"go.temporal.io/api/serviceerror"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/dial"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/exit"
)

// TestServerProblem: what keeps a client from a server has its own text, and its own advice.
func TestServerProblem(t *testing.T) {
	t.Parallel()
	away := serviceerror.NewUnavailable("connection error")
	for _, test := range []struct {
		err        error
		text, hint string
	}{
		{away, "no Temporal server answers at shop:7233", "check --address and --tls"},
		{errors.Join(away, &lookupError{"shop", &net.DNSError{IsNotFound: true}}), "there is no host shop", "check --address"},
		{errors.Join(away, &proxyError{"http://proxy:3128", errors.New("it answers 403 Forbidden")}), "the proxy http://proxy:3128: it answers 403 Forbidden", "HTTPS_PROXY"},
		{errors.Join(away, errUsesTLS), "the server at shop:7233 uses TLS", "use --tls"},
		{serviceerror.NewUnavailable(dial.ServerSays + "its database is away"), "the server at shop:7233 cannot do it at the moment: its database is away", "the server's log"},
	} {
		err := serverProblem(test.err, endpoint{address: "shop:7233"})
		if _, hint := explain(err); !strings.Contains(err.Error(), test.text) || !strings.Contains(hint, test.hint) {
			t.Errorf("got %q, hint %q; want %q, hint %q", err, hint, test.text, test.hint)
		}
	}
}

// TestLateAnswer: a server that answered before, and then does not, may have a full disk.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	if code, hint := explain(fmt.Errorf("order 1: %w", serviceerror.NewDeadlineExceeded("context deadline exceeded"))); code != 1 || !strings.Contains(hint, "such as a full disk") {
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
		if got := portHint("--port", fmt.Errorf("cannot listen: %w", cause)); !strings.Contains(got, want) {
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
		{"a cancelled order", context.Background(), (&ordering{}).outcome(context.Background(), coffee.OrderResult{Status: coffee.StatusCancelled}), 4},
		{"another order of the same id", context.Background(), &coffee.ConflictError{}, 5},
		{"a breach", context.Background(), &exit.Error{Code: exit.Breach}, 6},
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
