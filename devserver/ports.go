package devserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	psnet "github.com/shirou/gopsutil/v4/net"
	"github.com/shirou/gopsutil/v4/process"
	"google.golang.org/grpc/test/bufconn"
)

// PortName says what a port is for, in a message.
type PortName string

// The ports of a server. [Listen] can be given any other name.
const (
	PortGRPC    PortName = "gRPC"
	PortHTTP    PortName = "HTTP"
	PortMetrics PortName = "metrics"
	PortUI      PortName = "UI"
)

// PortError reports a port that cannot be opened.
type PortError struct {
	// Name is one of the server's ports, or the name given to [Listen].
	Name    PortName
	Address string
	// Holder is the program that listens on the port, as "name (process id)". It
	// is empty if the port is not in use, or if the system does not say by whom.
	Holder string
	cause  error
}

func (e *PortError) Error() string {
	cause := e.cause
	var reason *net.OpError
	if errors.As(cause, &reason) {
		cause = reason.Err
	}
	by := ""
	if e.Holder != "" {
		by = " by " + e.Holder
	}
	return fmt.Sprintf("cannot listen on %s for the %s port: %v%s", e.Address, e.Name, cause, by)
}

func (e *PortError) Unwrap() error { return e.cause }

// listeners are opened first, so that a port that cannot be opened is known before
// the Temporal server is started.
type listeners struct {
	frontend, ui, metrics net.Listener // ui and metrics are nil if there is none
}

func (l listeners) close() {
	for _, listener := range []net.Listener{l.frontend, l.ui, l.metrics} {
		if listener != nil {
			listener.Close()
		}
	}
}

// takePorts opens the listeners that the server is given, and checks that the HTTP
// port, which the server opens itself, can be opened. It returns a [*PortError].
func takePorts(o Options) (l listeners, err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if o.InProcess {
		l.frontend = bufconn.Listen(1 << 20)
	} else {
		if l.frontend, err = Listen(PortGRPC, o.IP, o.Port); err != nil {
			return l, err
		}
		// The server's own workers reach it there. A socket of UDP finds the way, and sends nothing.
		way, err := net.Dial("udp", hostPort(dialable(o.IP), 1))
		if err != nil {
			return l, &PortError{Name: PortGRPC, Address: l.frontend.Addr().String(), cause: err}
		}
		way.Close()
	}
	if o.UI {
		if l.ui, err = Listen(PortUI, o.UIIP, o.UIPort); err != nil {
			return l, err
		}
	}
	if o.MetricsPort != 0 {
		if l.metrics, err = Listen(PortMetrics, o.IP, o.MetricsPort); err != nil {
			return l, err
		}
	}
	if o.HTTPPort != 0 {
		listener, err := Listen(PortHTTP, o.IP, o.HTTPPort)
		if err != nil {
			return l, err
		}
		return l, listener.Close() // the server opens it itself
	}
	return l, nil
}

// Listen opens a TCP listener for something that belongs to a server; errors call
// it name. It returns a [*PortError] if it fails.
func Listen(name PortName, ip string, port int) (net.Listener, error) {
	listener, err := net.Listen("tcp", hostPort(ip, port))
	if err != nil {
		failed := &PortError{Name: name, Address: hostPort(ip, port), cause: err}
		if errors.Is(err, syscall.EADDRINUSE) {
			failed.Holder = portHolder(net.ParseIP(ip), port)
		}
		return nil, failed
	}
	return listener, nil
}

func hostPort(ip string, port int) string { return net.JoinHostPort(ip, fmt.Sprint(port)) }

// portHolder returns the program that listens on a port, as "name (process id)",
// or "" if it cannot be found, for example because it is another user's.
func portHolder(ip net.IP, port int) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	sockets, err := psnet.ConnectionsWithContext(ctx, "tcp")
	if err != nil {
		return ""
	}
	for _, socket := range sockets {
		at := net.ParseIP(socket.Laddr.IP)
		if socket.Status != "LISTEN" || int(socket.Laddr.Port) != port || socket.Pid == 0 ||
			!(at == nil || at.Equal(ip) || at.IsUnspecified() || ip.IsUnspecified()) {
			continue
		}
		holder, err := process.NewProcessWithContext(ctx, socket.Pid)
		if err != nil {
			continue // it has just ended
		}
		if name, err := holder.NameWithContext(ctx); err == nil {
			return fmt.Sprintf("%s (process %d)", name, socket.Pid)
		}
	}
	return ""
}
