//go:build !noserver

package devserver

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/gorilla/mux"
	chasmcallback "go.temporal.io/server/chasm/lib/callback"
	chasmnexus "go.temporal.io/server/chasm/lib/nexusoperation"
	"go.temporal.io/server/common"
	commonnexus "go.temporal.io/server/common/nexus"
	"go.temporal.io/server/common/rpc/encryption"
	"go.temporal.io/server/components/callbacks"
	queuescommon "go.temporal.io/server/service/history/queues/common"
	"go.uber.org/fx"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// Temporal starts and completes Nexus operations by HTTP: the history service posts to the
// frontend's HTTP API, or to the URL of an external endpoint or callback. Here the former
// stays inside the process, so Nexus needs no port.

// callbackSettings are the part of the dynamic configuration that says where the server can
// be called back. Each has one name for either kind of callbacks that the server has.
func callbackSettings(o Options) map[string]any {
	// Endpoints outside the server report there that an operation which they have started
	// has ended. Without an HTTP API they can only answer at once.
	callback := httpURL(o) + "/namespaces/{{.NamespaceName}}/nexus/callback"
	// Workflows may call it back as well.
	own := []any{map[string]any{"Pattern": hostPort(dialable(o.IP), o.HTTPPort), "AllowInsecure": true}}
	return map[string]any{
		"component.nexusoperations.callback.endpoint.template": callback,
		"nexusoperation.callback.endpoint.template":            callback,
		"component.callbacks.allowedAddresses":                 own,
		"callback.allowedAddresses":                            own,
	}
}

// webPipe is the frontend's HTTP API for the other services.
type webPipe struct {
	listener *bufconn.Listener
	server   *http.Server
	client   http.Client
}

func newWebPipe() *webPipe {
	p := &webPipe{listener: bufconn.Listen(1 << 20)}
	p.client.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.listener.DialContext(ctx) },
	}
	return p
}

// serve serves a handler until the pipe is closed.
func (p *webPipe) serve(router *mux.Router) {
	p.server = &http.Server{Handler: router} // without limits: this process is the only client
	go p.server.Serve(p.listener)            // it ends with the pipe, and cannot fail before
}

func (p *webPipe) close() {
	p.listener.Close()
	if p.server != nil {
		p.server.Close()
	}
	p.client.CloseIdleConnections()
}

// webFactory makes clients of the frontend's HTTP API.
type webFactory struct {
	common.RPCFactory
	pipe *webPipe
}

// GetFrontendGRPCServerOptions implements [common.RPCFactory]: the listener of the gRPC API
// has done what [webTLS] is for.
func (f webFactory) GetFrontendGRPCServerOptions() ([]grpc.ServerOption, error) {
	options, err := f.RPCFactory.GetFrontendGRPCServerOptions()
	return append(options, grpc.Creds(insecure.NewCredentials())), err
}

// CreateLocalFrontendHTTPClient implements [common.RPCFactory].
func (f webFactory) CreateLocalFrontendHTTPClient() (*common.FrontendHTTPClient, error) {
	return &common.FrontendHTTPClient{Client: f.pipe.client, Address: loopback, Scheme: "http"}, nil
}

// webTLS has the configuration of the HTTP API, whose listener is Temporal's own. Its clients
// need a certificate, like those of the gRPC API.
type webTLS struct {
	encryption.TLSConfigProvider
	*security
}

// GetFrontendServerConfig implements [encryption.TLSConfigProvider].
func (t webTLS) GetFrontendServerConfig() (*tls.Config, error) {
	if t.security == nil {
		return nil, nil
	}
	return t.web, nil
}

// What leaves the server by HTTP waits for the disk as the replies of the gRPC API do.

// syncedWriter syncs before a reply begins.
type syncedWriter struct {
	http.ResponseWriter
	sync  func() error
	begun bool
}

func (w *syncedWriter) WriteHeader(status int) {
	if !w.begun {
		w.begun = true
		if err := w.sync(); err != nil {
			status = http.StatusServiceUnavailable
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *syncedWriter) Write(data []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(data)
}

// Unwrap is for [http.ResponseController].
func (w *syncedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// outgoing makes the history service's requests wait for the disk.
func (s *syncer) outgoing() fx.Option {
	if s == nil {
		return fx.Options()
	}
	return fx.Decorate(s.beforeOperation, beforeCallback[callbacks.HTTPCallerProvider](s), beforeCallback[chasmcallback.HTTPCallerProvider](s))
}

// beforeResponse is [syncer.beforeReply] for HTTP.
func (s *syncer) beforeResponse(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		synced := &syncedWriter{ResponseWriter: w, sync: s.sync}
		next.ServeHTTP(synced, r)
		if !synced.begun { // a reply without a body
			synced.WriteHeader(http.StatusOK)
		}
	})
}

// beforeOperation syncs before a Nexus operation of an external endpoint is started or
// cancelled.
func (s *syncer) beforeOperation(of chasmnexus.NexusTransportProvider) chasmnexus.NexusTransportProvider {
	return func(namespaceID, service string) http.RoundTripper {
		return roundTripper(s.beforeRequest(of(namespaceID, service).RoundTrip))
	}
}

// beforeCallback returns a decorator that syncs before a callback leaves the server, for
// each of the two kinds of callbacks that the server has.
func beforeCallback[P ~func(queuescommon.NamespaceIDAndDestination) C, C ~func(*http.Request) (*http.Response, error)](s *syncer) func(P) P {
	return func(of P) P {
		return func(to queuescommon.NamespaceIDAndDestination) C { return s.beforeRequest(roundTripper(of(to))) }
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// beforeRequest syncs before a request, unless it stays inside the server.
func (s *syncer) beforeRequest(do roundTripper) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		if r.URL.String() != commonnexus.SystemCallbackURL {
			if err := s.sync(); err != nil {
				return nil, err
			}
		}
		return do(r)
	}
}
