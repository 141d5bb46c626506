package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"

	"example.com/coffee/devserver"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/sleep"
)

// An address may be a list of several, separated by commas: the frontends of a cluster
// without a load balancer. Requests go to all of them in turn, and when one is gone to
// the others: the SDK asks gRPC for round robin.

func addressList(address string) []string { return strings.Split(address, ",") }

// validHostPort returns a usage error, which says where the address is from, unless each of
// its parts is one.
func validHostPort(source, address string) error {
	for _, one := range addressList(address) {
		host, port, err := net.SplitHostPort(one)
		if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || n == 0 || strings.ContainsFunc(host, notInHost) {
			return exit.Usagef("", "%s is %q: use HOST:PORT, or several with commas in between", source, address)
		}
	}
	return nil
}

// notInHost reports whether a character is in no name or address of a host.
func notInHost(r rune) bool {
	return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune("/?#@", r)
}

// resolveNames makes options look names up by [frontends], and use all of a list of
// addresses.
func resolveNames(options *Options) {
	options.frontends = &frontends{scheme: "dns", hosts: addressList(options.HostPort)}
	if len(options.frontends.hosts) > 1 {
		options.frontends.scheme = "list"
		options.HostPort = "list:///frontends"
	}
	options.ConnectionOptions.DialOptions = append(slices.Clip(options.ConnectionOptions.DialOptions), grpc.WithResolvers(options.frontends))
}

// OnThisMachine reports whether all addresses are localhost or loopback addresses.
func OnThisMachine(address string) bool {
	return !slices.ContainsFunc(addressList(address), func(one string) bool {
		host, _, err := net.SplitHostPort(one)
		return err != nil || !isLocalhost(host) && !devserver.IsLoopback(host)
	})
}

// frontends finds the addresses of a server's frontends for gRPC. gRPC's own resolver
// also asks for SRV and TXT records, and a name server that drops packets makes even
// localhost wait for them.
type frontends struct {
	scheme string   // of gRPC's targets that it resolves
	hosts  []string // HOST:PORT each

	problem atomic.Pointer[cause] // why a name cannot be looked up; nil if all can
}

// unknownHost is why a name cannot be looked up.
func unknownHost(host string, err error) *cause {
	if unknown, ok := errors.AsType[*net.DNSError](err); ok && unknown.IsNotFound {
		return &cause{"there is no host " + host, ""}
	}
	return &cause{fmt.Sprintf("the name server does not answer for %s: %v", host, err), ""}
}

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
	if errors.Is(err, through) {
		return true, nil
	}
	if connecting, ok := errors.AsType[*net.OpError](err); ok {
		err = connecting.Err
	}
	return true, &cause{fmt.Sprintf("the proxy %s: %v", proxy.Redacted(), err), "check HTTPS_PROXY; NO_PROXY names the hosts to reach without it"}
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
	if isLocalhost(host) {
		return []string{"127.0.0.1", "::1"}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupPatience)
	defer cancel()
	return net.DefaultResolver.LookupHost(ctx, host)
}

// isLocalhost reports whether a name is one of those that no name server knows (RFC 6761).
func isLocalhost(host string) bool {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// lookedUp returns the problem of the last look-up; nil if there was none.
func (f *frontends) lookedUp() error {
	if problem := f.problem.Load(); problem != nil { // not a nil in an error
		return problem
	}
	return nil
}

// fixed reports whether nobody has to be asked for any of the hosts.
func (f *frontends) fixed() bool {
	return !slices.ContainsFunc(f.hosts, func(address string) bool {
		host, _, _ := net.SplitHostPort(address)
		_, err := netip.ParseAddr(host)
		return err != nil && !isLocalhost(host)
	})
}

// resolve returns the endpoints of all frontends whose names can be looked up, or an
// error if there are none.
func (f *frontends) resolve(ctx context.Context) ([]resolver.Endpoint, error) {
	var endpoints []resolver.Endpoint
	var problem *cause
	for _, address := range f.hosts {
		host, port, _ := net.SplitHostPort(address) // it has been checked
		f.problem.Store(unknownHost(host, errors.New("it was asked just now")))
		ips, err := lookUp(ctx, host)
		if err != nil {
			problem = unknownHost(host, err)
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
		servers := slices.Chunk(all, 1)
		if isLocalhost(host) {
			servers = slices.Values([][]resolver.Address{all}) // one server, at either address
		}
		for addresses := range servers {
			endpoints = append(endpoints, resolver.Endpoint{Addresses: addresses})
		}
	}
	f.problem.Store(problem)
	if len(endpoints) == 0 {
		return nil, problem
	}
	return endpoints, nil
}

// Scheme implements [resolver.Builder].
func (f *frontends) Scheme() string { return f.scheme }

// Build implements [resolver.Builder].
func (f *frontends) Build(_ resolver.Target, conn resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &resolving{cancel: cancel, again: make(chan struct{}, 1)}
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
		if err == nil && f.fixed() || !sleep.For(ctx, lookupPause) {
			return
		}
		if err == nil {
			select {
			case <-ctx.Done():
			case <-r.again:
			}
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
