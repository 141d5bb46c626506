package devserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
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

// takePorts checks that the ports that were asked for can be had, before
// anything is started, and finds free ones where none was. It returns the
// listener of the Web UI, if there is to be one.
func (s *Server) takePorts() (uiListener net.Listener, err error) {
	o := s.options
	// All of them are held until the last one is found, so that no two are the
	// same.
	var held []net.Listener
	defer func() {
		for _, listener := range held {
			listener.Close()
		}
	}()
	for _, p := range []struct {
		name string
		ip   string
		port int
		set  *int
	}{
		{"gRPC", o.IP, o.Port, &s.ports.frontend},
		{"HTTP", o.IP, o.HTTPPort, nil},
		{"metrics", o.IP, o.MetricsPort, nil},
		{"history", loopback, 0, &s.ports.history},
		{"matching", loopback, 0, &s.ports.matching},
		{"worker", loopback, 0, &s.ports.worker},
	} {
		if p.set == nil && p.port == 0 {
			continue // off
		}
		listen := listen
		if p.port == 0 {
			listen = listenSomewhere
		}
		listener, err := listen(p.name, p.ip, p.port)
		if err != nil {
			return nil, err
		}
		held = append(held, listener)
		if p.set != nil {
			*p.set = listener.Addr().(*net.TCPAddr).Port
		}
	}
	if !o.UI {
		return nil, nil
	}
	if uiListener, err = listen("UI", o.UIIP, o.UIPort); err != nil {
		return nil, err
	}
	s.uiPort = uiListener.Addr().(*net.TCPAddr).Port
	return uiListener, nil
}

// listen returns a [*PortError] if it fails.
func listen(name, ip string, port int) (net.Listener, error) {
	listener, err := net.Listen("tcp", hostPort(ip, port))
	if err != nil {
		return nil, &PortError{Name: name, Address: hostPort(ip, port), cause: err}
	}
	return listener, nil
}

// listenSomewhere listens on a port that stays free when it is released for
// the Temporal server, which opens its listeners itself. The ports that the
// system gives out would not: from those, 32768 and up, it takes one for each
// outgoing connection of any program.
func listenSomewhere(name, ip string, _ int) (listener net.Listener, err error) {
	for range 100 {
		if listener, err = listen(name, ip, 20_000+rand.IntN(12_000)); err == nil {
			return listener, nil
		}
	}
	return nil, err
}
