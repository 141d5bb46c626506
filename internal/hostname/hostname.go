// Package hostname says under which names a server may be reached by browsers.
package hostname

import (
	"net"
	"net/http"
	"slices"
)

// IsAddress reports whether the host of a request, with or without a port, is localhost or
// an IP address. Any other name may be one whose owner has pointed it at this machine, for
// a page to reach what it should not (DNS rebinding).
func IsAddress(host string) bool {
	name := withoutPort(host)
	return name == "localhost" || net.ParseIP(name) != nil
}

func withoutPort(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// Guard protects a handler that listens on an IP address from pages of other sites. Such a
// page cannot make the handler do anything, whatever its request looks like. If only this
// machine can reach the address, the page cannot read anything either, even if it makes a
// name of its own point here: a request must be for localhost, an IP address, or one of
// names, all with any port.
func Guard(ip string, names []string, next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	if parsed := net.ParseIP(ip); parsed == nil || !parsed.IsLoopback() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !IsAddress(r.Host) && !slices.Contains(names, withoutPort(r.Host)) {
			http.Error(w, "reach this as localhost, by its IP address, or by a name that --allowed-host gives", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
