package commands

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

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

// resolveList makes options with a list of addresses use all of them.
func resolveList(options *connectOptions) {
	addresses := addressList(options.HostPort)
	if len(addresses) == 1 {
		return
	}
	var endpoints []resolver.Endpoint
	for _, address := range addresses {
		host, _, _ := net.SplitHostPort(address) // it has been checked
		endpoints = append(endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: address, ServerName: host}}})
	}
	list := manual.NewBuilderWithScheme("list")
	list.InitialState(resolver.State{Endpoints: endpoints})
	options.HostPort = list.Scheme() + ":///frontends"
	options.ConnectionOptions.DialOptions = append(slices.Clip(options.ConnectionOptions.DialOptions), grpc.WithResolvers(list))
}

// onThisMachine reports whether all addresses are localhost or loopback addresses.
func onThisMachine(address string) bool {
	return !slices.ContainsFunc(addressList(address), func(one string) bool {
		host, _, err := net.SplitHostPort(one)
		return err != nil || host != "localhost" && !devserver.IsLoopback(host)
	})
}
