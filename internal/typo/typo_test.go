package typo

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"order", "status", "server", "ledger", "size"}
	for word, want := range map[string]string{
		"ordr":                    "order",
		"stauts":                  "status",
		"sever":                   "server",
		"siz":                     "size",
		"frob":                    "",
		"":                        "",
		strings.Repeat("x", 1000): "",
	} {
		got, ok := Nearest(word, names)
		if got != want || ok != (want != "") {
			t.Errorf("Nearest(%.20q) is %q, %v; want %q", word, got, ok, want)
		}
	}
}
