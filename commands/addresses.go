package commands

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"google.golang.org/grpc"

	"example.com/coffee/devserver"
)

// An address may be a list of several, separated by commas: the frontends of a cluster
// without a load balancer. Requests go to all of them in turn, and when one is gone to
// the others: the SDK asks gRPC for round robin.

func addressList(address string) []string { return strings.Split(address, ",") }

// checkAddress returns a usage error unless each address is one.
func checkAddress(address string) error {
	for _, one := range addressList(address) {
		if _, _, err := net.SplitHostPort(one); err != nil {
			return &usageError{message: fmt.Sprintf("--address is %q: use HOST:PORT, or several with commas in between", address)}
		}
	}
	return nil
}

// resolveNames makes options look names up by [frontends], and use all of a list of
// addresses.
func resolveNames(options *connectOptions) {
	options.frontends = &frontends{scheme: "dns", hosts: addressList(options.HostPort)}
	if len(options.frontends.hosts) > 1 {
		options.frontends.scheme = "list"
		options.HostPort = "list:///frontends"
	}
	options.ConnectionOptions.DialOptions = append(slices.Clip(options.ConnectionOptions.DialOptions), grpc.WithResolvers(options.frontends))
}

// onThisMachine reports whether all addresses are localhost or loopback addresses.
func onThisMachine(address string) bool {
	return !slices.ContainsFunc(addressList(address), func(one string) bool {
		host, _, err := net.SplitHostPort(one)
		return err != nil || !isLocalhost(host) && !devserver.IsLoopback(host)
	})
}
