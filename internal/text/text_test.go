package text

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPrintableEscapes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		for _, text := range []string{Printable(s), Quote(s)} {
			if strings.ContainsAny(text, "\x00\x07\x08\n\r\x1b\x7f\u009b\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") {
				t.Fatalf("%q came out as %q", s, text)
			}
		}
	})
	if got := Printable("flat white, ü"); got != "flat white, ü" {
		t.Errorf("got %s", got)
	}
	if got := Printable("a\u202eb"); got != `"a\u202eb"` {
		t.Errorf("got %s", got)
	}
}

// TestPrintableBytes: what is not UTF-8 is escaped as well.
func TestPrintableBytes(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"café": "café", "caf\xe9": `"caf\xe9"`, "\x9b31m": `"\x9b31m"`, "a\nb": `"a\nb"`} {
		if got := Printable(s); got != want {
			t.Errorf("%q: got %s", s, got)
		}
	}
}
