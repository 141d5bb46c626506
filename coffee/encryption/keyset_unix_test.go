//go:build unix

package encryption

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestKeysetIsAPipe: a keyset that would block or never end is refused.
func TestKeysetIsAPipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, "/dev/zero"} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("Open %s: %v", path, err)
		}
		if _, err := List(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("List %s: %v", path, err)
		}
	}
	if err := Rotate(path, false); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Rotate: %v", err)
	}
}

// TestRotateHidesTheKey: a keyset that everyone could read has its new key for itself.
func TestRotateHidesTheKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Rotate(path, false); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
}

// TestKeysetBesideStrangers: no key is written where somebody else could replace it.
func TestKeysetBesideStrangers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.json")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"Create": Create(filepath.Join(dir, "more.json")), "Rotate": Rotate(path, false)} {
		if err == nil || !strings.Contains(err.Error(), "others can replace its files") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
}
