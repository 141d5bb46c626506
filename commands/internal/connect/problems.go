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

// cause is why no server answers. Without a hint of its own it is about the address.
type cause struct{ text, hint string }

func (c *cause) Error() string { return c.text }

// NoAnswer reports whether an error means that no server answers.
func NoAnswer(err error) bool {
	_, unavailable := errors.AsType[*serviceerror.Unavailable](err)
	_, late := errors.AsType[*serviceerror.DeadlineExceeded](err)
	return unavailable || late || errors.Is(err, context.DeadlineExceeded)
}

func isNoNamespace(err error) bool {
	_, missing := errors.AsType[*serviceerror.NamespaceNotFound](err)
	return missing
}

// ServerProblem rewords a known error of a server, and adds a hint. It returns other errors
// as they are.
func ServerProblem(err error, at Endpoint) error {
	if missing, ok := errors.AsType[*serviceerror.NamespaceNotFound](err); ok {
		return exit.Hinted(fmt.Errorf("there is no namespace %q on %s", missing.Namespace, at.Address), "check "+cmp.Or(at.from.namespace, "--namespace")+"; or start a server that has it: coffee server --namespace NAME")
	}
	if !NoAnswer(err) {
		return err
	}
	check := "check " + cmp.Or(at.from.address, "--address")
	away := fmt.Errorf("no Temporal server answers at %s", at.Address)
	hinted := func(err error, hint string) error { return exit.Hinted(&awayError{err}, hint) }
	if unavailable, ok := errors.AsType[*serviceerror.Unavailable](err); ok {
		if _, said, ok := strings.Cut(unavailable.Message, dial.ServerSays); ok {
			return hinted(fmt.Errorf("the server at %s cannot do it at the moment: %s", at.Address, text.Printable(said)), "look at the server's log")
		}
	}
	if why, ok := errors.AsType[*cause](err); ok {
		return hinted(fmt.Errorf("%w: %w", away, why), cmp.Or(why.hint, check))
	}
	if problem := tlsProblem(err, at.Address); problem != nil {
		return problem
	}
	switch {
	case devserver.ServerVersion == "":
		return hinted(away, check+" and --tls")
	case at.Address == client.DefaultHostPort:
		return hinted(away, "start one with: coffee server")
	}
	return hinted(away, check+" and --tls, or start a server here with: coffee server")
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
	_ = conn.SetReadDeadline(deadline) // or reading fails at once
	_, err = conn.Read(make([]byte, 1))
	return err
}

// askWithoutTLS returns [errUsesTLS] if a server uses TLS, and a cause if it is a web server,
// which speaks HTTP/1. All that gRPC sees is that the connection ends.
func askWithoutTLS(ctx context.Context, address string) error {
	// Nothing is sent, and nothing that comes is believed.
	conn, err := dialTLS(ctx, address, &tls.Config{InsecureSkipVerify: true})
	other, _ := errors.AsType[tls.RecordHeaderError](err)
	alert, _ := errors.AsType[*net.OpError](err)
	switch {
	case string(other.RecordHeader[:]) == "HTTP/":
		return &cause{"a web server answers there", "the Web UI of coffee server is on its --port + 1000: use the port itself"}
	case err == nil:
		return errors.Join(errUsesTLS, conn.Close())
	case alert != nil && alert.Op == "remote error": // crypto/tls: the server's alert
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
	dialer := tls.Dialer{Config: config}
	var problems error
	for _, ip := range ips {
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(ip, port))
		if err == nil {
			return conn, nil
		}
		problems = errors.Join(problems, err)
	}
	return nil, problems
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
