package hostname

import "testing"

func TestIsAddress(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "localhost:8233": true, "127.0.0.1": true, "127.0.0.1:8233": true, "[::1]:8233": true, "::1": true, "192.0.2.1:80": true,
		"": false, ":8233": false, "rebound.example.com": false, "rebound.example.com:8233": false, "localhost.example.com:80": false, "127.0.0.1.example.com": false,
	} {
		if got := IsAddress(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
