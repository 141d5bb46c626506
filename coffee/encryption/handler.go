package encryption

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"slices"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"

	"example.com/coffee/internal/hostname"
)

// HandlerOptions configure a [Keyset.Handler].
type HandlerOptions struct {
	// Namespaces are those whose payloads are decrypted. A caller names its own in the
	// header X-Namespace, as the Web UI and the Temporal CLI do.
	Namespaces []string
	// IP is the address that the handler listens on; empty means a loopback address, on which
	// it answers as localhost and under any IP address.
	IP string
	// Origins are those of the pages whose scripts may call the handler, such as
	// http://localhost:8233, that of the Web UI.
	Origins []string
}

const (
	// mostBody is the largest size of a request's body, in bytes: a page of a history, which
	// is the most that the Web UI sends, has up to 4 MB.
	mostBody = 4 << 20
	// mostPayloads is the largest number of payloads in a request. Empty ones take much more
	// memory than their JSON.
	mostPayloads = 10_000
)

// Handler returns a codec server
// (https://docs.temporal.io/production-deployment/data-encryption): it decrypts, and
// encrypts, what Temporal's Web UI and the Temporal CLI send to it. A payload that it cannot
// decrypt, or that belongs to another namespace than the caller's, it returns as it is.
// Whoever reaches it can decrypt: it does not look at the caller's token.
func (k *Keyset) Handler(options HandlerOptions) http.Handler {
	return hostname.Local(cmp.Or(options.IP, "127.0.0.1"), nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		w.Header().Set("Cache-Control", "no-store")
		if origin := r.Header.Get("Origin"); origin != "" { // the CLI sends none
			if !slices.Contains(options.Origins, origin) {
				http.Error(w, "this codec server does not answer pages from there", http.StatusForbidden)
				return
			}
			allow(w.Header(), r.Header, origin)
		}
		if r.Method == http.MethodOptions { // the browser asks before it sends
			w.WriteHeader(http.StatusNoContent)
			return
		}
		namespace := r.Header.Get("X-Namespace")
		if !slices.Contains(options.Namespaces, namespace) {
			http.Error(w, "this codec server is for another namespace", http.StatusForbidden)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
		// Each payload has two braces at most, if it has anything in it, and there is none in
		// base64.
		if err != nil || bytes.Count(body, []byte("{")) > 2*mostPayloads {
			http.Error(w, "that is too much at once", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		converter.NewPayloadCodecHTTPHandler(lookingOn{dataConverter{keyset: k, at: place{namespace: namespace}}}).ServeHTTP(w, r)
	}))
}

// allow answers what a browser asks before it lets a page call: the Web UI can pass its
// user's token, and a page of the internet needs leave to call this machine.
func allow(answer, asked http.Header, origin string) {
	answer.Set("Access-Control-Allow-Origin", origin)
	answer.Set("Access-Control-Allow-Methods", http.MethodPost)
	answer.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Namespace")
	if asked.Get("Access-Control-Request-Private-Network") == "true" {
		answer.Set("Access-Control-Allow-Private-Network", "true")
	}
}

// lookingOn leaves what it cannot decrypt as it is.
type lookingOn struct{ dataConverter }

// Decode implements [converter.PayloadCodec].
func (c lookingOn) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	return each(payloads, func(payload *commonpb.Payload) (*commonpb.Payload, error) {
		if decrypted, err := c.decrypt(payload); err == nil {
			return decrypted, nil
		}
		return payload, nil
	})
}
