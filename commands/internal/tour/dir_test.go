package tour

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestDir: a tour removes the directories of tours that were killed, and no others.
func TestDir(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	alive, err := makeDir()
	if err != nil {
		t.Fatal(err)
	}
	killed, err := makeDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(killed.path, "1.log"), nil, 0o600), killed.lock.Close()); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(os.TempDir(), "coffee-tour-somebody")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	next, err := makeDir()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{alive.path: true, killed.path: false, foreign: true, next.path: true} {
		if _, err := os.Stat(path); (err == nil) != want || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v, want %v", path, err == nil, want)
		}
	}
	if err := errors.Join(alive.remove(), next.remove()); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 1 {
		t.Errorf("%v are left, %v", left, err)
	}
}
