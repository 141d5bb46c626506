package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/resolver"

	"example.com/coffee/internal/sleep"
)

// frontends finds the addresses of a server's frontends for gRPC. gRPC's own resolver
// also asks for SRV and TXT records, and a name server that drops packets makes even
// localhost wait for them.
type frontends struct {
	scheme string   // of gRPC's targets that it resolves
	hosts  []string // HOST:PORT each

	mu      sync.Mutex
	problem error // why the names cannot be looked up; nil if they can
}

// lookupError says that a name cannot be looked up.
type lookupError struct {
	host string
	err  error
}

func (e *lookupError) Error() string {
	var unknown *net.DNSError
	if errors.As(e.err, &unknown) && unknown.IsNotFound {
		return fmt.Sprintf("there is no host %s", e.host)
	}
	return fmt.Sprintf("the name server does not answer for %s: %v", e.host, e.err)
}

func (e *lookupError) Unwrap() error { return e.err }

// proxyError says that a proxy lets nobody through to a server.
type proxyError struct {
	proxy string
	err   error
}

func (e *proxyError) Error() string { return fmt.Sprintf("the proxy %s: %v", e.proxy, e.err) }
func (e *proxyError) Unwrap() error { return e.err }

// askProxy asks the proxy that gRPC uses for an address, if there is one, to connect to it.
// gRPC's own error does not say that there was a proxy.
func askProxy(ctx context.Context, address string, proxyFor func(*http.Request) (*url.URL, error)) (used bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request := (&http.Request{URL: &url.URL{Scheme: "https", Host: addressList(address)[0]}, Header: http.Header{}}).WithContext(ctx)
	proxy, err := proxyFor(request)
	if proxy == nil {
		return err != nil, err
	}
	through := errors.New("the proxy lets us through")
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", answer.Status)
		}
		return through
	}}
	_, err = transport.RoundTrip(request)
	var connecting *net.OpError
	switch {
	case errors.Is(err, through):
		return true, nil
	case errors.As(err, &connecting):
		err = connecting.Err
	}
	return true, &proxyError{proxy.Redacted(), err}
}

const (
	// lookupPatience bounds one look-up. It is longer than a resolver waits for its first
	// name server before it asks the second.
	lookupPatience = 15 * time.Second
	// lookupPause is the least time between two look-ups.
	lookupPause = time.Second
)

// lookUp returns the IP addresses of a host. Nobody is asked for localhost, which is this
// machine, nor for an address.
func lookUp(ctx context.Context, host string) ([]string, error) {
	switch {
	case isLocalhost(host):
		return []string{"127.0.0.1", "::1"}, nil
	case isIP(host):
		return []string{host}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupPatience)
	defer cancel()
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return nil, &lookupError{host, err}
	}
	return ips, nil
}

// isLocalhost reports whether a name is one of those that no name server knows (RFC 6761).
func isLocalhost(host string) bool {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// isIP reports whether a host is an IP address, perhaps with a zone.
func isIP(host string) bool {
	address, _, _ := strings.Cut(host, "%")
	return net.ParseIP(address) != nil
}

// lookedUp returns the problem of the last look-up; nil if there was none.
func (f *frontends) lookedUp() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.problem
}

// resolve returns the endpoints of all frontends whose names can be looked up, or an
// error if there are none.
func (f *frontends) resolve(ctx context.Context) ([]resolver.Endpoint, error) {
	var endpoints []resolver.Endpoint
	var problem error
	for _, address := range f.hosts {
		host, port, _ := net.SplitHostPort(address) // it has been checked
		f.setProblem(&lookupError{host, errors.New("it was asked just now")})
		ips, err := lookUp(ctx, host)
		if err != nil {
			problem = err
			continue
		}
		var all []resolver.Address
		for _, ip := range ips {
			one := resolver.Address{Addr: net.JoinHostPort(ip, port)}
			if len(f.hosts) > 1 { // one has its name from gRPC's target
				one.ServerName = host
			}
			all = append(all, one)
		}
		if isLocalhost(host) {
			endpoints = append(endpoints, resolver.Endpoint{Addresses: all}) // one server, at either address
			continue
		}
		for _, one := range all {
			endpoints = append(endpoints, resolver.Endpoint{Addresses: []resolver.Address{one}})
		}
	}
	f.setProblem(problem)
	if len(endpoints) == 0 {
		return nil, problem
	}
	return endpoints, nil
}

func (f *frontends) setProblem(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.problem = err
}

// Scheme implements [resolver.Builder].
func (f *frontends) Scheme() string { return f.scheme }

// Build implements [resolver.Builder].
func (f *frontends) Build(_ resolver.Target, conn resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &resolving{cancel: cancel, again: make(chan struct{}, 1)}
	fixed := !slices.ContainsFunc(f.hosts, func(address string) bool {
		host, _, _ := net.SplitHostPort(address)
		return !isIP(host) && !isLocalhost(host)
	})
	if fixed {
		endpoints, err := f.resolve(ctx)
		if err == nil {
			err = conn.UpdateState(resolver.State{Endpoints: endpoints})
		}
		return r, err
	}
	r.done.Go(func() { f.run(ctx, r, conn) })
	return r, nil
}

// run looks the names up, and again when gRPC has lost a connection, or when they could
// not be looked up.
func (f *frontends) run(ctx context.Context, r *resolving, conn resolver.ClientConn) {
	for {
		endpoints, err := f.resolve(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = conn.UpdateState(resolver.State{Endpoints: endpoints})
		} else {
			conn.ReportError(err)
		}
		if !sleep.For(ctx, lookupPause) {
			return
		}
		if err != nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-r.again:
		}
	}
}

// resolving is a look-up that goes on.
type resolving struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	again  chan struct{}
}

// ResolveNow implements [resolver.Resolver].
func (r *resolving) ResolveNow(resolver.ResolveNowOptions) {
	select {
	case r.again <- struct{}{}:
	default:
	}
}

// Close implements [resolver.Resolver].
func (r *resolving) Close() {
	r.cancel()
	r.done.Wait()
}
