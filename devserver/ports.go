package devserver

import (
	"errors"
	"fmt"
	"net"
)

// PortError says that a port cannot be had.
type PortError struct {
	// Name says what the port is for: "gRPC", "HTTP", "metrics" or "UI".
	Name    string
	Address string
	cause   error
}

func (e *PortError) Error() string {
	var reason *net.OpError
	if errors.As(e.cause, &reason) {
		return fmt.Sprintf("cannot listen on %s for the %s port: %v", e.Address, e.Name, reason.Err)
	}
	return fmt.Sprintf("cannot listen on %s for the %s port: %v", e.Address, e.Name, e.cause)
}

func (e *PortError) Unwrap() error { return e.cause }

// listeners are open from the beginning, so that a port that cannot be had is
// known before anything is started.
type listeners struct {
	frontend, ui net.Listener // ui is nil if there is no Web UI
}

func (l listeners) close() {
	for _, listener := range []net.Listener{l.frontend, l.ui} {
		if listener != nil {
			listener.Close()
		}
	}
}

// takePorts opens the listeners that the server is handed, and checks that the
// ports that it opens itself can be had. It returns a [*PortError].
func takePorts(o Options) (l listeners, err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.frontend, err = listen("gRPC", o.IP, o.Port); err != nil {
		return l, err
	}
	if o.UI {
		if l.ui, err = listen("UI", o.UIIP, o.UIPort); err != nil {
			return l, err
		}
	}
	var checked []net.Listener // held until the last one, lest two be the same
	defer func() {
		for _, listener := range checked {
			listener.Close()
		}
	}()
	for _, p := range []struct {
		name string
		port int
	}{{"HTTP", o.HTTPPort}, {"metrics", o.MetricsPort}} {
		if p.port == 0 {
			continue // off
		}
		listener, err := listen(p.name, o.IP, p.port)
		if err != nil {
			return l, err
		}
		checked = append(checked, listener)
	}
	return l, nil
}

// listen returns a [*PortError] if it fails.
func listen(name, ip string, port int) (net.Listener, error) {
	listener, err := net.Listen("tcp", hostPort(ip, port))
	if err != nil {
		return nil, &PortError{Name: name, Address: hostPort(ip, port), cause: err}
	}
	return listener, nil
}
