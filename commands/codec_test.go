package commands

import (
	"slices"
	"testing"
)

// TestOrigins: a page on this machine has an origin for each of the machine's names, and one
// elsewhere only its own.
func TestOrigins(t *testing.T) {
	t.Parallel()
	for page, want := range map[string][]string{
		"https://ui.example.com": {"https://ui.example.com"},
		"http://10.0.0.1:8233":   {"http://10.0.0.1:8233"},
		"http://localhost":       {"http://localhost", "http://127.0.0.1", "http://[::1]"},
		"https://127.0.0.1:8233": {"https://localhost:8233", "https://127.0.0.1:8233", "https://[::1]:8233"},
		"http://[::1]:8233":      {"http://localhost:8233", "http://127.0.0.1:8233", "http://[::1]:8233"},
	} {
		got := origins(page)
		slices.Sort(got)
		slices.Sort(want)
		if got = slices.Compact(got); !slices.Equal(got, want) {
			t.Errorf("%s has the origins %v, want %v", page, got, want)
		}
	}
}
