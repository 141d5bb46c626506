package sqlitefile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestReleaseWithCopies: a hold that is released is gone, although somebody still has a copy
// of the open file, as a process has that is being started.
func TestReleaseWithCopies(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	hold, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	copied, err := syscall.Dup(int(hold.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(copied)
	if err := hold.Release(); err != nil {
		t.Fatal(err)
	}
	hold, err = Take(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := hold.Release(); err != nil {
		t.Error(err)
	}
}
