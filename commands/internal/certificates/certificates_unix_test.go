//go:build unix

package certificates

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDirectoryOfOthers: no key is made where somebody else could replace it, and nobody's
// certificates are taken from there.
func TestDirectoryOfOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Ensure(dir, nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "client.key")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(dir, nil, time.Now()); err == nil || !strings.Contains(err.Error(), "others can replace its files") {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 5 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
}

// TestExposedKeys names the keys that everyone can read, and no certificate.
func TestExposedKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if files, err := Ensure(dir, nil, time.Now()); err != nil || len(files.Exposed) != 0 {
		t.Fatalf("new ones: %q, %v", files.Exposed, err)
	}
	if err := os.Chmod(filepath.Join(dir, "ca.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	files, err := Ensure(dir, nil, time.Now())
	if err != nil || len(files.Exposed) != 1 || !strings.Contains(files.Exposed[0], "ca.key has mode 0644, so everyone can read it") {
		t.Errorf("got %q, %v", files.Exposed, err)
	}
}

// TestKeyIsAPipe: a certificate or a key that would block is refused.
func TestKeyIsAPipe(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ca.crt", "ca.key", "server.crt", "server.key", "client.key"} {
		dir := t.TempDir()
		if _, err := Ensure(dir, nil, time.Now()); err != nil {
			t.Fatal(err)
		}
		pipe := filepath.Join(dir, name)
		if err := os.Remove(pipe); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Ensure(dir, nil, time.Now()); err == nil || !strings.Contains(err.Error(), name+": not a regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
