// Package hostname says under which names a server may be reached by browsers.
package hostname

import (
	"net"
	"net/http"
	"slices"
)

// Guard protects a handler that listens on an IP address from pages of other sites. Such a
// page cannot make the handler do anything, whatever its request looks like, nor, if only this
// machine can reach the address, read anything: see [Local].
func Guard(ip string, names []string, next http.Handler) http.Handler {
	return Local(ip, names, http.NewCrossOriginProtection().Handler(next))
}

// Local lets a handler that listens on an IP address that only this machine can reach answer
// requests for localhost, an IP address, or one of names, all with any port. Any other name
// may be one whose owner has pointed it at this machine, for a page to read what it should
// not (DNS rebinding).
func Local(ip string, names []string, next http.Handler) http.Handler {
	if parsed := net.ParseIP(ip); parsed == nil || !parsed.IsLoopback() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Host
		if host, _, err := net.SplitHostPort(name); err == nil {
			name = host
		}
		if name != "localhost" && net.ParseIP(name) == nil && !slices.Contains(names, name) {
			http.Error(w, "reach this as localhost or by its IP address; Web UI and board also answer to names that --allowed-host gives", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
