//go:build unix

package powerfailure

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestAdopt: a file that a process has changed without recording that does not fit the
// recordings, until it is adopted. Then what it has counts as durable, whether it was
// known before or not.
func TestAdopt(t *testing.T) {
	t.Parallel()
	recordings, dir := t.TempDir(), t.TempDir()
	rng := rand.New(rand.NewPCG(1, 1))
	for _, content := range []string{"unknown", "known, and longer than before", "short"} {
		path := filepath.Join(dir, "x.db")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if loss, err := Fail(recordings, Now(), rng, path); (content == "unknown") != (err == nil) || loss.Files != 0 {
			t.Errorf("before %q is adopted: %+v, %v", content, loss, err)
		}
		if err := Adopt(recordings, path); err != nil {
			t.Fatal(err)
		}
		loss, err := Fail(recordings, Now(), rng, path)
		if err != nil || loss != (Loss{Files: 1}) {
			t.Errorf("%q: %+v, %v", content, loss, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("%q became %q, %v", content, got, err)
		}
	}
}
