package hostname

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestLocal: a name that is no address may be one that anybody has pointed here.
func TestLocal(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "localhost:8233": true, "127.0.0.1": true, "127.0.0.1:8233": true, "[::1]:8233": true, "::1": true, "192.0.2.1:80": true,
		"": false, ":8233": false, "rebound.example.com": false, "rebound.example.com:8233": false, "localhost.example.com:80": false, "127.0.0.1.example.com": false,
	} {
		recorder, request := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
		request.Host = host
		Local("127.0.0.1", nil, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(recorder, request)
		if got := recorder.Code == http.StatusOK; got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

// TestGuard: a page of another site changes nothing, and reads nothing by pointing its own
// name here. A forwarded port, and a proxy that is named, are no other site.
func TestGuard(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		ip, host, origin string
		want             int
	}{
		{"127.0.0.1", "127.0.0.1:8080", "", 200}, {"127.0.0.1", "localhost:9000", "", 200}, {"::1", "[::1]:8080", "", 200}, {"127.0.0.1", "localhost", "", 200},
		{"127.0.0.1", "shop.example.com", "", 200}, {"127.0.0.1", "shop.example.com:443", "https://shop.example.com:443", 200},
		{"127.0.0.1", "evil.example.com", "", 403}, {"::1", "localhost.evil.com:8080", "", 403}, {"127.0.0.1", "", "", 403},
		{"0.0.0.0", "vm:8080", "", 200}, {"192.0.2.7", "evil.example.com:8080", "", 200},
		{"127.0.0.1", "localhost:8080", "http://evil.example.com", 403}, {"0.0.0.0", "vm:8080", "http://evil.example.com", 403},
	} {
		handler := Guard(test.ip, []string{"shop.example.com"}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		request := httptest.NewRequest("POST", "/", nil)
		request.Host = test.host
		if test.origin != "" {
			request.Header.Set("Origin", test.origin)
		}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		if recorder.Code != test.want {
			t.Errorf("on %s, to %q from %q: %d", test.ip, test.host, test.origin, recorder.Code)
		}
	}
}
