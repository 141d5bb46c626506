package connect

import (
	"errors"
	"net"
	"strings"
	"testing"

	"go.temporal.io/api/serviceerror"

	"example.com/coffee/coffee/dial"
	"example.com/coffee/commands/internal/terminal"
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
		{errors.Join(away, unknownHost("shop", &net.DNSError{IsNotFound: true})), "there is no host shop", "check --address"},
		{errors.Join(away, &cause{"the proxy http://proxy:3128: it answers 403 Forbidden", "check HTTPS_PROXY"}), "the proxy http://proxy:3128: it answers 403 Forbidden", "HTTPS_PROXY"},
		{errors.Join(away, errUsesTLS), "the server at shop:7233 uses TLS", "use --tls"},
		{serviceerror.NewUnavailable(dial.ServerSays + "its database is away"), "the server at shop:7233 cannot do it at the moment: its database is away", "the server's log"},
	} {
		err := ServerProblem(test.err, Endpoint{Address: "shop:7233"})
		if _, hint := terminal.Explain(err); !strings.Contains(err.Error(), test.text) || !strings.Contains(hint, test.hint) {
			t.Errorf("got %q, hint %q; want %q, hint %q", err, hint, test.text, test.hint)
		}
	}
}
