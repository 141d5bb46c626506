package sqlitefile

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOpenReadOnly: a database that was closed cleanly can be read by somebody who may write
// neither to it nor beside it, but not if a log beside it may hold more.
func TestOpenReadOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	if err := database(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	read := func() (string, error) {
		t.Helper()
		child := exec.Command("/proc/self/exe") // the file may be where only this user may look
		child.Env = append(os.Environ(), "READ="+path)
		if os.Geteuid() == 0 { // to root, modes mean nothing
			child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, err := child.Output()
		return strings.TrimSpace(string(out)), err
	}
	chmod := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(filepath.Dir(dir), 0o755)
	chmod(path, 0o444)
	chmod(dir, 0o555)
	defer chmod(dir, 0o755)
	if out, err := read(); err != nil {
		t.Errorf("%s, %v", out, err)
	}
	chmod(dir, 0o755)
	if err := os.WriteFile(path+"-wal", []byte("the latest changes"), 0o444); err != nil {
		t.Fatal(err)
	}
	chmod(dir, 0o555)
	if out, err := read(); err == nil || out == "" {
		t.Errorf("it was read without its log: %q, %v", out, err)
	}
}
