package connect

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"google.golang.org/grpc"

	"example.com/coffee/devserver"
	"example.com/coffee/internal/exit"
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
