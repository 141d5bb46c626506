package encryption

import (
	"net/http"
	"slices"

	"go.temporal.io/sdk/converter"

	"example.com/coffee/internal/hostname"
)

// HandlerOptions configure a [Keyset.Handler].
type HandlerOptions struct {
	// Namespaces are those whose payloads are decrypted. A caller names its own in the
	// header X-Namespace, as the Web UI and the Temporal CLI do.
	Namespaces []string
	// AnyHost lets the handler be reached under any host name. Without it, that must be
	// localhost or an IP address: a site whose owner has pointed its name here must not
	// reach it (DNS rebinding).
	AnyHost bool
	// Origins are those of the pages whose scripts may call the handler, such as
	// http://localhost:8233, that of the Web UI.
	Origins []string
}

// mostBody is the largest size of a request's body, in bytes.
const mostBody = 16 << 20

// Handler returns a codec server
// (https://docs.temporal.io/production-deployment/data-encryption): it decrypts, and
// encrypts, what Temporal's Web UI and the Temporal CLI send to it. Whoever reaches it
// can decrypt.
func (k *Keyset) Handler(options HandlerOptions) (http.Handler, error) {
	handler, err := converter.NewPayloadHTTPHandler(converter.PayloadHTTPHandlerOptions{PostStorageCodecs: []converter.PayloadCodec{k.Codec()}})
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !options.AnyHost && !hostname.IsAddress(r.Host) {
			http.Error(w, "this codec server does not answer to that host name", http.StatusForbidden)
			return
		}
		w.Header().Add("Vary", "Origin")
		w.Header().Set("Cache-Control", "no-store")
		if origin := r.Header.Get("Origin"); origin != "" { // the CLI sends none
			if !slices.Contains(options.Origins, origin) {
				http.Error(w, "this codec server does not answer pages from there", http.StatusForbidden)
				return
			}
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Allow-Methods", http.MethodPost)
			w.Header().Set("Access-Control-Allow-Headers", "Content-Type, X-Namespace")
		}
		if r.Method == http.MethodOptions { // the browser asks before it sends
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if !slices.Contains(options.Namespaces, r.Header.Get("X-Namespace")) {
			http.Error(w, "this codec server is for another namespace", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, mostBody)
		handler.ServeHTTP(w, r)
	}), nil
}
