package encryption

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// TestHandler: the codec server decrypts for the Web UI and the CLI, for its namespace,
// and for nobody else.
func TestHandler(t *testing.T) {
	t.Parallel()
	k := newKeyset(t)
	handler := k.Handler(HandlerOptions{Namespaces: []string{"shop"}, Origins: []string{"http://localhost:8233"}})
	encrypted, err := k.encrypt(payload(t, "latte"), place{"shop", "order-1"})
	if err != nil {
		t.Fatal(err)
	}
	body, err := protojson.Marshal(&commonpb.Payloads{Payloads: []*commonpb.Payload{encrypted, payload(t, "plain")}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(change func(*http.Request)) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8235/decode", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Namespace", "shop")
		change(r)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	for name, test := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"the CLI":           {func(r *http.Request) {}, 200},
		"the Web UI":        {func(r *http.Request) { r.Header.Set("Origin", "http://localhost:8233") }, 200},
		"another page":      {func(r *http.Request) { r.Header.Set("Origin", "http://localhost:8080") }, 403},
		"a file":            {func(r *http.Request) { r.Header.Set("Origin", "null") }, 403},
		"another namespace": {func(r *http.Request) { r.Header.Set("X-Namespace", "bank") }, 403},
		"no namespace":      {func(r *http.Request) { r.Header.Del("X-Namespace") }, 403},
		"a name of its own": {func(r *http.Request) { r.Host = "rebound.example.com:8235" }, 403},
		"IPv6":              {func(r *http.Request) { r.Host = "[::1]:8235" }, 200},
		"not a POST":        {func(r *http.Request) { r.Method = http.MethodGet }, 404},
		"another path":      {func(r *http.Request) { r.URL.Path = "/keys" }, 404},
		"not JSON":          {func(r *http.Request) { r.Body = http.NoBody }, 400},
		"a preflight": {func(r *http.Request) {
			r.Method = http.MethodOptions
			r.Header.Set("Origin", "http://localhost:8233")
			r.Header.Del("X-Namespace")
		}, 204},
		"a foreign preflight": {func(r *http.Request) {
			r.Method = http.MethodOptions
			r.Header.Set("Origin", "http://evil.example.com")
		}, 403},
	} {
		w := ask(test.change)
		if w.Code != test.status {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if w.Code == 403 && w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s is let in: %v", name, w.Header())
		}
		if w.Code != 200 && strings.Contains(w.Body.String(), "ImxhdHRlIg==") { // "latte" in JSON, in base64
			t.Errorf("%s reads %s", name, w.Body)
		}
		if w.Code == 200 && (!strings.Contains(w.Body.String(), "ImxhdHRlIg==") || !strings.Contains(w.Body.String(), "InBsYWluIg==")) {
			t.Errorf("%s gets %s", name, w.Body)
		}
	}
	w := ask(func(r *http.Request) {
		r.Method = http.MethodOptions
		r.Header.Set("Origin", "http://localhost:8233")
		r.Header.Set("Access-Control-Request-Private-Network", "true")
	})
	for header, want := range map[string]string{
		"Access-Control-Allow-Origin":          "http://localhost:8233",
		"Access-Control-Allow-Headers":         "Authorization", // the Web UI passes its user's token
		"Access-Control-Allow-Private-Network": "true",          // to a page of the internet
	} {
		if got := w.Header().Get(header); !strings.Contains(got, want) {
			t.Errorf("the Web UI may not read it: %s: %q", header, got)
		}
	}
}

// TestHandlerLeavesTheRest: one payload that cannot be read, or belongs to another
// namespace, stays as it is and is in nobody's way.
func TestHandlerLeavesTheRest(t *testing.T) {
	t.Parallel()
	k := newKeyset(t)
	var sent []*commonpb.Payload
	for _, from := range []struct {
		keyset *Keyset
		at     place
	}{{k, place{"shop", "order-1"}}, {k, place{"bank", "order-1"}}, {newKeyset(t), place{"shop", "order-1"}}, {k, place{"shop", "order-1"}}, {k, place{"shop", ""}}} {
		p, err := from.keyset.encrypt(payload(t, "latte"), from.at)
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, p)
	}
	sent[3].Data[0] ^= 1
	body, err := protojson.Marshal(&commonpb.Payloads{Payloads: sent})
	if err != nil {
		t.Fatal(err)
	}
	w, got := httptest.NewRecorder(), &commonpb.Payloads{}
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8235/decode", bytes.NewReader(body))
	r.Header.Set("X-Namespace", "shop")
	k.Handler(HandlerOptions{Namespaces: []string{"shop"}}).ServeHTTP(w, r)
	if err := protojson.Unmarshal(w.Body.Bytes(), got); err != nil || len(got.GetPayloads()) != len(sent) {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	for i, p := range got.GetPayloads() {
		if readable := i == 0 || i == 4; isEncrypted(p) == readable || !readable && !proto.Equal(p, sent[i]) {
			t.Errorf("payload %d is %v", i, p)
		}
	}
}

// TestHandlerIsBounded: neither a long request nor one of very many empty payloads is read.
func TestHandlerIsBounded(t *testing.T) {
	t.Parallel()
	handler := newKeyset(t).Handler(HandlerOptions{Namespaces: []string{"shop"}})
	for name, body := range map[string]string{
		"long": `{"payloads":[{"data":"` + strings.Repeat("A", 5<<20) + `"}]}`,
		"many": `{"payloads":[{}` + strings.Repeat(",{}", 100_000) + `]}`,
	} {
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8235/decode", strings.NewReader(body))
		r.Header.Set("X-Namespace", "shop")
		w := httptest.NewRecorder()
		if handler.ServeHTTP(w, r); w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}
