package connect

// Most tests in this file set variables, and run one after the other.

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestAskProxy: a proxy that is away, or refuses, is named; its password is not.
func TestAskProxy(t *testing.T) {
	t.Parallel()
	answering := func(code int) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for proxy, want := range map[string]string{
		closed.Addr().String():          "connection refused",
		answering(http.StatusForbidden): "it answers 403 Forbidden",
		answering(http.StatusOK):        "",
	} {
		used, err := askProxy(context.Background(), "shop.example.com:7233", http.ProxyURL(&url.URL{Scheme: "http", Host: proxy, User: url.UserPassword("me", "sesame")}))
		if !used || (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sesame")) {
			t.Errorf("%v, %v; want %q", used, err, want)
		}
	}
	if used, err := askProxy(context.Background(), "127.0.0.1:7233", http.ProxyURL(nil)); used || err != nil {
		t.Errorf("without a proxy: %v, %v", used, err)
	}
}
