//go:build !noserver

package devserver

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"time"

	"example.com/coffee/internal/hostname"
	"example.com/coffee/internal/httpserver"
	"example.com/coffee/internal/tempdir"
)

// Everything here that speaks HTTP can be reached by the user's browser, and so by
// the pages that are open in it.

// guard protects a handler from pages of other sites. Such a page cannot make the
// handler do anything, whatever its request looks like. If the listener is on the
// loopback interface the page cannot read anything either, even if it makes a name
// of its own point here (DNS rebinding).
func guard(ip string, next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	if !IsLoopback(ip) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hostname.IsAddress(r.Host) {
			http.Error(w, "reach this server as localhost or by its IP address", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serve serves requests until the server that it returns is closed. A request takes up to
// the write timeout; 0 means that it may take any time. serve reports a failure to the
// alarm.
func (s *Server) serve(listener net.Listener, handler http.Handler, writeTimeout time.Duration) *http.Server {
	server := httpserver.New(handler)
	server.ErrorLog = log.New(s.options.Log, "", 0)
	server.WriteTimeout = writeTimeout
	if s.security != nil {
		listener = tls.NewListener(listener, s.security.webTLS(listener.Addr().(*net.TCPAddr).IP.String()))
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.alarm.fail(err)
		}
	}()
	return server
}

// prepareMetrics makes the directory of the socket on which Temporal serves its
// metrics. Temporal does not check the name by which it was reached, so it gets no
// port.
func (s *Server) prepareMetrics() (err error) {
	if s.options.MetricsPort != 0 {
		s.metricsDir, err = tempdir.Make("metrics") // accessible to its owner only
	}
	return err
}

// metricsSocket returns the path of that socket, or "" if there are no metrics.
func (s *Server) metricsSocket() string {
	if s.metricsDir == nil {
		return ""
	}
	return filepath.Join(s.metricsDir.Path(), "socket")
}

// startMetrics serves the metrics on a listener that is open already.
func (s *Server) startMetrics(listener net.Listener) {
	socket := s.metricsSocket()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "metrics"})
	proxy.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}
	proxy.ErrorLog = log.New(s.options.Log, "", 0)
	s.metrics = s.serve(listener, guard(s.options.IP, proxy), 30*time.Second)
}
