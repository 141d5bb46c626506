package tempdir

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// child is the environment variable that makes this test binary a process that makes a
// directory, prints its path, and waits to be killed.
const child = "TEMPDIR_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(child) == "" {
		os.Exit(m.Run())
	}
	d, err := Make("metrics")
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString(d.Path() + "\n")
	select {}
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// TestKilled: a directory of a process that lives stays; when the process has been
// killed, the next one that makes a directory removes it, whatever its kind.
func TestKilled(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), child+"=1")
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	path := strings.TrimSpace(line)
	if err != nil || !exists(t, path) {
		t.Fatalf("%q, %v", line, err)
	}
	if err := os.WriteFile(filepath.Join(path, "socket"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	makeAndRemove := func() {
		t.Helper()
		d, err := Make("verify")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	makeAndRemove()
	if !exists(t, path) {
		t.Error("the directory of a process that lives was removed")
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	command.Wait()
	makeAndRemove()
	if exists(t, path) {
		t.Error("the directory of a process that was killed is left")
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

// TestStays: what the user keeps, what lacks the mark, and what is behind a link stays.
func TestStays(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	kept, err := Make("chaos")
	if err != nil {
		t.Fatal(err)
	}
	if err := kept.Keep(); err != nil {
		t.Fatal(err)
	}
	unmarked := filepath.Join(os.TempDir(), "coffee-beans")
	elsewhere := t.TempDir()
	if err := errors.Join(
		os.MkdirAll(filepath.Join(unmarked, "lock"), 0o700),
		os.WriteFile(filepath.Join(elsewhere, lockName), nil, 0o600),
		os.Symlink(elsewhere, filepath.Join(os.TempDir(), "coffee-link-1")),
	); err != nil {
		t.Fatal(err)
	}
	next, err := Make("chaos")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{kept.Path(), unmarked, filepath.Join(elsewhere, lockName)} {
		if !exists(t, path) {
			t.Errorf("%s was removed", path)
		}
	}
	if exists(t, filepath.Join(kept.Path(), lockName)) {
		t.Error("what the user keeps has the mark of what may be removed")
	}
	if info, err := os.Stat(next.Path()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := next.Remove(); err != nil {
		t.Error(err)
	}
}

// TestAtOnce: processes that make directories at the same time do not remove each other's.
func TestAtOnce(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				d, err := Make("tour")
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(filepath.Join(d.Path(), "1.log"), nil, 0o600); err != nil {
					t.Error(err)
				}
				if err := d.Remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
