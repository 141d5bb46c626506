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

// guard protects what speaks HTTP here: the user's browser can reach it, and so can the
// pages that are open in it.
func (s *Server) guard(ip string, next http.Handler) http.Handler {
	return hostname.Guard(ip, s.options.AllowedHosts, next)
}

// serve serves requests until the server that it returns is closed. A request takes up to
// the write timeout; 0 means that it may take any time. serve reports a failure to the
// alarm.
func (s *Server) serve(listener net.Listener, handler http.Handler, writeTimeout time.Duration) *http.Server {
	server := httpserver.New(handler)
	server.ErrorLog = log.New(s.options.Log, "", 0)
	server.WriteTimeout = writeTimeout
	s.parts.keep(server.Close)
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
	if s.options.MetricsPort == 0 {
		return nil
	}
	if s.metricsDir, err = tempdir.Make("metrics"); err == nil { // accessible to its owner only
		s.parts.keep(s.metricsDir.Remove)
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
	s.metrics = s.serve(listener, s.guard(s.options.IP, proxy), 30*time.Second)
}
