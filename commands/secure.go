package commands

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"

	"example.com/coffee/commands/internal/certificates"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/private"
)

// checkReach returns a usage error if a server would let everyone in who can reach its
// machine, unless that is wanted.
func checkReach(c *cli.Context, options devserver.Options) error {
	if c.IsSet("secure") && c.Bool("insecure") {
		return usageErrorf(c, "--secure and --insecure exclude each other")
	}
	metrics, _, _ := net.SplitHostPort(c.String("metrics-address")) // it has been checked
	for _, listens := range []struct{ flag, ip string }{{"--ip", options.IP}, {"--ui-ip", options.UIIP}, {"--metrics-address", metrics}} {
		if listens.flag != "--metrics-address" && net.ParseIP(listens.ip) == nil {
			return usageErrorf(c, "%s is %q: use an IP address", listens.flag, listens.ip)
		}
		if net.ParseIP(listens.ip) != nil && !devserver.IsLoopback(listens.ip) && !c.IsSet("secure") && !c.Bool("insecure") {
			return usageErrorf(c, "%s is %s: beyond this machine use --secure DIR, which makes certificates, or --insecure, which lets everyone in who can reach it", listens.flag, listens.ip)
		}
	}
	return nil
}

// secure makes the certificates of a server. If it is to have none, and listens beyond this
// machine, it warns.
func (a *app) secure(plan *serverPlan) error {
	if plan.secure == "" {
		for _, ip := range []string{plan.server.IP, plan.server.UIIP} {
			if !devserver.IsLoopback(ip) {
				a.log.Warn().Str("ip", ip).Msg("listening beyond this machine: anyone who can reach the server has full access")
				break
			}
		}
		return nil
	}
	files, err := certificates.Ensure(plan.secure, serverNames(plan.server), time.Now())
	if err != nil {
		return err
	}
	for _, made := range files.Made {
		a.out.notef("made %s", made)
	}
	for _, exposed := range files.Exposed {
		a.log.Warn().Msg("a private key is not private: " + exposed)
	}
	if len(files.Lacking) > 0 {
		a.out.notef("%s lacks %s: clients that use those names refuse it; put ca.key back to have another one made", files.Server, strings.Join(files.Lacking, ", "))
	}
	plan.secure = filepath.Dir(files.CA)
	plan.server.TLS = &devserver.TLSFiles{CA: files.CA, Server: files.Server, ServerKey: files.ServerKey, Client: files.Client, ClientKey: files.ClientKey}
	return nil
}

// serverNames returns the names and addresses under which a server is reached.
func serverNames(options devserver.Options) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	for _, ip := range []string{options.IP, options.UIIP} {
		parsed := net.ParseIP(ip)
		if parsed == nil {
			continue
		}
		if !parsed.IsUnspecified() {
			names = append(names, ip)
			continue
		}
		addresses, err := net.InterfaceAddrs()
		if err != nil {
			continue // those that are known have to do
		}
		for _, address := range addresses {
			if network, ok := address.(*net.IPNet); ok && !network.IP.IsLinkLocalUnicast() {
				names = append(names, network.IP.String())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// writeProfile writes a profile for clients of a server, as the Temporal CLI reads it,
// and returns its name.
func writeProfile(dir, address string, files *devserver.TLSFiles) (string, error) {
	config := envconfig.ClientConfig{Profiles: map[string]*envconfig.ClientConfigProfile{"default": {
		Address:   address,
		Namespace: client.DefaultNamespace,
		TLS:       &envconfig.ClientConfigTLS{ClientCertPath: files.Client, ClientKeyPath: files.ClientKey, ServerCACertPath: files.CA},
	}}}
	text, err := config.ToTOML(envconfig.ClientConfigToTOMLOptions{})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "temporal.toml")
	if old, err := private.Read(file); err == nil && bytes.Equal(old, text) {
		return file, nil
	}
	if err := private.Write(file, text, 0o600); err != nil {
		return "", fmt.Errorf("cannot write the profile for clients: %w", err)
	}
	return file, nil
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
