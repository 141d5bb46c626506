package backupfiles

// Most tests in this file set variables, and run one after the other.

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckRoom: a copy for which there is no room is not begun.
func TestCheckRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	small, large := filepath.Join(dir, "small.db"), filepath.Join(dir, "large.db")
	for file, size := range map[string]int64{small: 1 << 10, large: 1 << 43} { // which takes no room
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, size); err != nil {
			t.Skip(err)
		}
	}
	if err := CheckRoom(t.Context(), dir, small, nil); err != nil {
		t.Error(err)
	}
	if err := CheckRoom(t.Context(), dir, small, []ledgerBeside{{File: large}}); err == nil || !strings.Contains(err.Error(), "a copy to verify takes 8388608 MB") {
		t.Error(err)
	}
}
