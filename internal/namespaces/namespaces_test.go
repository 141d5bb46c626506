package namespaces

import (
	"strings"
	"testing"
)

// TestCheck: a name that a client's header can carry is allowed, and no other.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"default", "orders.acct-1", "two words", "~", strings.Repeat("x", 1000)} {
		if err := Check(name); err != nil {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	for _, name := range []string{"", " ", "münchen", "a\nb", "a\x00", "a\x7f", "\xff", " default", "default ", "default\t", strings.Repeat("x", 1001)} {
		if err := Check(name); err == nil || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%.20q: %v", name, err)
		}
	}
}
