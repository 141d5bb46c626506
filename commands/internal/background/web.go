package background

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/exit"
)

// ListenHTTP opens a port for something that speaks HTTP, which a flag sets.
func ListenHTTP(what devserver.PortName, ip string, port int, flag string) (net.Listener, error) {
	listener, err := devserver.Listen(what, ip, port)
	if err != nil {
		return nil, exit.Hinted(err, terminal.PortHint(flag, err))
	}
	return listener, nil
}

// Serve serves HTTP on a listener, which it takes over. When it stops, requests in
// flight have a second to finish.
func (b *Tasks) Serve(what string, listener net.Listener, server *http.Server) {
	b.Start(func(ctx context.Context) error {
		stopped := make(chan error, 1)
		unlessFailed := context.AfterFunc(ctx, func() { stopped <- shutDown(server) })
		err := server.Serve(listener)
		if errors.Is(err, http.ErrServerClosed) {
			return <-stopped
		}
		unlessFailed()
		return errors.Join(fmt.Errorf("the %s failed: %w", what, err), shutDown(server))
	})
}

// shutDown ends the event streams of a board, and gives other requests a second.
func shutDown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	return err
}

// WithTLS lets a listener speak TLS; nil leaves it as it is.
func WithTLS(listener net.Listener, config *tls.Config) net.Listener {
	if config == nil {
		return listener
	}
	return tls.NewListener(listener, config)
}

// Scheme is that of the URLs of what listens with a TLS configuration.
func Scheme(config *tls.Config) string {
	if config == nil {
		return "http"
	}
	return "https"
}
