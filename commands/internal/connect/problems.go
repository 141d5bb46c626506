package connect

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee/dial"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/text"
)

// awayError says that no server answers, and nothing else is known to be wrong.
type awayError struct{ error }

func (e *awayError) Unwrap() error { return e.error }

// NoAnswer reports whether an error means that no server answers.
func NoAnswer(err error) bool {
	var unavailable *serviceerror.Unavailable
	var late *serviceerror.DeadlineExceeded
	return errors.As(err, &unavailable) || errors.As(err, &late) || errors.Is(err, context.DeadlineExceeded)
}

func isNoNamespace(err error) bool {
	var missing *serviceerror.NamespaceNotFound
	return errors.As(err, &missing)
}

// ServerProblem rewords a known error of a server, and adds a hint. It returns other errors
// as they are.
func ServerProblem(err error, at Endpoint) error {
	address, check := at.Address, "check "+cmp.Or(at.from.address, "--address")
	var missing *serviceerror.NamespaceNotFound
	var unavailable *serviceerror.Unavailable
	var lookup *lookupError
	var proxy *proxyError
	away := &awayError{fmt.Errorf("no Temporal server answers at %s", address)}
	switch {
	case errors.As(err, &missing):
		return exit.Hinted(fmt.Errorf("there is no namespace %q on %s", missing.Namespace, address), "check "+cmp.Or(at.from.namespace, "--namespace")+"; or start a server that has it: coffee server --namespace NAME")
	case errors.As(err, &unavailable) && strings.Contains(unavailable.Message, dial.ServerSays):
		_, said, _ := strings.Cut(unavailable.Message, dial.ServerSays)
		return exit.Hinted(&awayError{fmt.Errorf("the server at %s cannot do it at the moment: %s", address, text.Printable(said))}, "look at the server's log")
	case NoAnswer(err) && errors.As(err, &proxy):
		return exit.Hinted(&awayError{fmt.Errorf("no Temporal server answers at %s: %w", address, proxy)}, "check HTTPS_PROXY; NO_PROXY names the hosts to reach without it")
	case NoAnswer(err) && tlsProblem(err, address) != nil:
		return tlsProblem(err, address)
	case NoAnswer(err) && errors.Is(err, errIsWeb):
		return exit.Hinted(&awayError{fmt.Errorf("no Temporal server answers at %s: %w", address, errIsWeb)}, "the Web UI of coffee server is on its --port + 1000: use the port itself")
	case NoAnswer(err) && errors.As(err, &lookup):
		return exit.Hinted(&awayError{fmt.Errorf("no Temporal server answers at %s: %w", address, lookup)}, check)
	case NoAnswer(err) && devserver.ServerVersion == "":
		return exit.Hinted(away, check+" and --tls")
	case NoAnswer(err) && address == client.DefaultHostPort:
		return exit.Hinted(away, "start one with: coffee server")
	case NoAnswer(err):
		return exit.Hinted(away, check+" and --tls, or start a server here with: coffee server")
	}
	return err
}

// Explain returns an error of the server with its hint, in one line.
func (at Endpoint) Explain(err error) string { return terminal.InOneLine(ServerProblem(err, at)) }

// Lost explains an error that means that no server answers; it is empty for any other.
func (at Endpoint) Lost(err error) string {
	if !NoAnswer(err) {
		return ""
	}
	return at.Explain(err)
}

// errUsesTLS is the error of a client without TLS whose server uses it.
var errUsesTLS = errors.New("the server uses TLS")

// askTLS returns what a server has against a client's certificate, or the client against
// the server's. gRPC may not tell: with TLS 1.3 the server says so when the client takes
// the connection for open, and has begun to write. For a client without TLS it returns
// [errUsesTLS] if the server uses it.
func askTLS(ctx context.Context, address string, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if config == nil {
		return askWithoutTLS(ctx, address)
	}
	conn, err := dialTLS(ctx, address, config.Clone())
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// errIsWeb means that the server speaks HTTP/1, which gRPC does not.
var errIsWeb = errors.New("a web server answers there")

// askWithoutTLS returns [errUsesTLS] if a server uses TLS, and [errIsWeb] if it is a web
// server. All that gRPC sees is that the connection ends.
func askWithoutTLS(ctx context.Context, address string) error {
	// Nothing is sent, and nothing that comes is believed.
	conn, err := dialTLS(ctx, address, &tls.Config{InsecureSkipVerify: true})
	var alert *net.OpError
	var other tls.RecordHeaderError
	switch {
	case errors.As(err, &other) && string(other.RecordHeader[:]) == "HTTP/":
		return errIsWeb
	case err == nil:
		return errors.Join(errUsesTLS, conn.Close())
	case errors.As(err, &alert) && alert.Op == "remote error": // crypto/tls: the server's alert
		return errUsesTLS
	}
	return nil
}

// dialTLS connects to a server as gRPC does.
func dialTLS(ctx context.Context, address string, config *tls.Config) (net.Conn, error) {
	config.NextProtos = []string{"h2"}
	host, port, err := net.SplitHostPort(addressList(address)[0])
	if err != nil {
		return nil, err
	}
	if config.ServerName == "" {
		config.ServerName = host
	}
	ips, err := lookUp(ctx, host)
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	for _, ip := range ips {
		if conn, err = new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(ip, port)); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

// tlsProblem explains why a client and the server at an address cannot agree on TLS. It
// returns nil if that is not the problem. The texts are those of crypto/tls and
// crypto/x509, which gRPC passes on as text.
func tlsProblem(err error, address string) error {
	const profile = "use the profile that coffee server --secure prints, with --config-file, or "
	for _, problem := range []struct{ text, message, hint string }{
		{"remote error: tls: certificate required", "the server at %s asks for a client certificate", profile + "name one with --tls-cert-path and --tls-key-path"},
		{"remote error: tls: expired certificate", "the server at %s refuses this client's certificate: it has expired", "get a new one; coffee server --secure makes one when it starts"},
		{"remote error: tls: unknown certificate authority", "the server at %s refuses this client's certificate: it is from another authority", profile + "name another one with --tls-cert-path and --tls-key-path"},
		{"remote error: tls: bad certificate", "the server at %s refuses this client's certificate", profile + "name another one with --tls-cert-path and --tls-key-path"},
		{"x509: certificate signed by unknown authority", "this client does not trust the server at %s: its certificate is from another authority", profile + "name the authority with --tls-ca-path"},
		{"x509: certificate has expired or is not yet valid", "this client does not trust the server at %s: its certificate has expired or is not valid yet", "check the clocks; coffee server --secure makes a new certificate when it starts"},
		{"x509: certificate is valid for", "this client does not trust the server at %s: its certificate is for other names", "use one of its names as --address, or name it with --tls-server-name"},
		{"tls: first record does not look like a TLS handshake", "the server at %s does not use TLS", "leave --tls, --api-key and the certificates out"},
		{errUsesTLS.Error(), "the server at %s uses TLS, and this client does not", profile + "use --tls"},
	} {
		if strings.Contains(err.Error(), problem.text) {
			return exit.Hinted(fmt.Errorf(problem.message, address), problem.hint)
		}
	}
	return nil
}
