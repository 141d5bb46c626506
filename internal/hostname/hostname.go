// Package hostname says under which names a server on this machine may be reached.
package hostname

import "net"

// IsAddress reports whether the host of a request, with or without a port, is localhost or
// an IP address. Any other name may be one whose owner has pointed it at this machine, for
// a page to reach what it should not (DNS rebinding).
func IsAddress(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return host == "localhost" || net.ParseIP(host) != nil
}
