//go:build !noserver

package devserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/rs/zerolog"
	"go.temporal.io/server/common/config"

	"example.com/coffee/internal/renewed"
)

// serverName is the name by which the server reaches itself. Its certificate has it.
const serverName = "localhost"

// security is what [TLSFiles] hold; nil means that nothing is encrypted.
type security struct {
	grpc   *tls.Config // for clients, who need a certificate
	web    *tls.Config // for browsers, see [Server.WebTLS]
	client *tls.Config // for the server's own connections to itself
}

func newSecurity(o Options) (*security, error) {
	files := o.TLS
	if files == nil {
		return nil, nil
	}
	server, err := renewed.KeyPair(files.Server, files.ServerKey)
	if err != nil {
		return nil, fmt.Errorf("cannot use the server's certificate: %w", err)
	}
	client, err := tls.LoadX509KeyPair(files.Client, files.ClientKey)
	if err != nil {
		return nil, fmt.Errorf("cannot use the clients' certificate: %w", err)
	}
	authority, err := renewed.CertPool(files.CA)
	if err != nil {
		return nil, err
	}
	config := func(protocols ...string) *tls.Config {
		return &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: renewed.ServerCertificate(server), NextProtos: protocols,
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority}
	}
	s := &security{
		grpc:   config("h2"),
		web:    config("h2", "http/1.1"),
		client: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{client}, RootCAs: authority, ServerName: serverName},
	}
	return s, nil
}

// systemTLS lets the server's own workers reach it through its gRPC port.
func systemTLS(files *TLSFiles) config.RootTLS {
	if files == nil {
		return config.RootTLS{}
	}
	return config.RootTLS{SystemWorker: config.WorkerTLS{
		CertFile: files.Client,
		KeyFile:  files.ClientKey,
		Client:   config.ClientTLS{ServerName: serverName, RootCAFiles: []string{files.CA}},
	}}
}

// grpcListener returns the listener with which the frontend serves another one.
func (s *security) grpcListener(listener net.Listener, log zerolog.Logger) net.Listener {
	if s == nil {
		return listener
	}
	return tlsListener{tls.NewListener(listener, s.grpc), log}
}

// webTLS returns the configuration for browsers that come to an address; nil means plain
// HTTP. Whoever is on this machine may look, as without certificates.
func (s *security) webTLS(ip string) *tls.Config {
	if s == nil {
		return nil
	}
	if !IsLoopback(ip) {
		return s.web
	}
	open := s.web.Clone()
	open.ClientAuth, open.ClientCAs = tls.NoClientCert, nil
	return open
}

// clientTLS returns the configuration of the server's own connections; nil means that
// they are not encrypted.
func (s *security) clientTLS() *tls.Config {
	if s == nil {
		return nil
	}
	return s.client
}

// tlsListener logs why it refuses a client.
type tlsListener struct {
	net.Listener
	log zerolog.Logger
}

// Accept implements [net.Listener].
func (l tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tlsConn{Conn: conn.(*tls.Conn), log: l.log}, nil
}

// tlsConn is a connection whose handshake is part of its first read.
type tlsConn struct {
	*tls.Conn
	log   zerolog.Logger
	first sync.Once
}

// Read implements [net.Conn].
func (c *tlsConn) Read(p []byte) (n int, err error) {
	c.first.Do(func() {
		err := c.Handshake()
		var broken net.Error // it went away, or took too long
		if err != nil && !errors.As(err, &broken) && !errors.Is(err, io.EOF) {
			c.log.Warn().Err(err).Stringer("client", c.RemoteAddr()).Msg("a client was refused")
		}
	})
	return c.Conn.Read(p)
}
