//go:build unix

package private

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// chmod sets a mode that the umask would not let pass.
func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// chown gives a file away, which only root can do.
func chown(t *testing.T, path string, uid, gid int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
}

// mode returns the mode of a file, without following a link.
func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

// TestWrite: a new file replaces whatever has its name, a link too, and drafts that others
// have put there are not used.
func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target, path := filepath.Join(dir, "target"), filepath.Join(dir, "key")
	if err := os.WriteFile(target, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{path, path + ".new"} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := Write(path, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := Read(path); err != nil || string(data) != "secret" || mode(t, path) != 0o600 {
		t.Errorf("the file has %q with mode %v, %v", data, mode(t, path), err)
	}
	if data, err := Read(target); err != nil || string(data) != "mine" {
		t.Errorf("what the link led to has %q, %v", data, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
}

// TestWriteLeavesNoDraft: what cannot be finished leaves nothing.
func TestWriteLeavesNoDraft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "key", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "key"), []byte("secret"), 0o600); err == nil {
		t.Error("a file has replaced a directory")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
}

// TestRewrite: owner and group stay, and nobody gets more than the group's reading.
func TestRewrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys")
	for before, after := range map[os.FileMode]os.FileMode{0o600: 0o600, 0o640: 0o640, 0o666: 0o640, 0o400: 0o600, 0o604: 0o600} {
		if err := Write(path, nil, before); err != nil {
			t.Fatal(err)
		}
		if err := Rewrite(path, []byte("secret")); err != nil {
			t.Fatal(err)
		}
		if got := mode(t, path); got != after {
			t.Errorf("mode %v became %v, want %v", before, got, after)
		}
	}
	chown(t, path, 1234, 2345)
	if err := Rewrite(path, []byte("another")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); stat.Uid != 1234 || stat.Gid != 2345 {
		t.Errorf("the file now belongs to %d, %d", stat.Uid, stat.Gid)
	}
}

// TestCheckDir refuses a directory in which somebody else can put something in the place of
// a file; and nothing is written there.
func TestCheckDir(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mode     os.FileMode
		uid, gid int // -1 means this user
		want     string
	}{
		"private":             {0o700, -1, -1, ""},
		"readable":            {0o755, -1, -1, ""},
		"world-writable":      {0o777, -1, -1, "mode 0777, so others can replace its files"},
		"sticky":              {0o777 | os.ModeSticky, -1, -1, "mode 0777, so others can replace its files"},
		"of the group":        {0o775, -1, 2345, "mode 0775, so others can replace its files"},
		"of another user":     {0o700, 1234, -1, "belongs to another user"},
		"of the user's group": {0o775, -1, -1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "dir")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			chmod(t, dir, c.mode)
			if c.uid != -1 || c.gid != -1 || name == "of the user's group" {
				chown(t, dir, c.uid, c.gid)
			}
			link := filepath.Join(filepath.Dir(dir), "link")
			if err := os.Symlink(dir, link); err != nil {
				t.Fatal(err)
			}
			for _, at := range []string{dir, link} {
				err := CheckDir(at)
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				if err := Write(filepath.Join(at, "key"), nil, 0o600); (err == nil) != (c.want == "") {
					t.Errorf("written: %v", err)
				}
			}
			if entries, err := os.ReadDir(dir); c.want != "" && (err != nil || len(entries) != 0) {
				t.Errorf("the directory has %v, %v", entries, err)
			}
		})
	}
}

// TestCheckDirAbove: a private directory is worth nothing where everyone can put another one
// in its place, but fine in the temporary directory.
func TestCheckDirAbove(t *testing.T) {
	t.Parallel()
	above := t.TempDir()
	dir := filepath.Join(above, "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	chmod(t, above, 0o777)
	if err := CheckDir(dir); err == nil || !strings.Contains(err.Error(), "everyone can replace what is in it") {
		t.Errorf("world-writable above: %v", err)
	}
	chmod(t, above, 0o777|os.ModeSticky)
	if err := CheckDir(dir); err != nil {
		t.Errorf("sticky above: %v", err)
	}
}

// TestRead refuses what would block or have no end, and follows a link to what does not.
func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := syscall.Mkfifo(in("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"large": maxSize + 1, "fits": maxSize, "empty": 0} {
		if err := os.WriteFile(in(name), bytes.Repeat([]byte("x"), size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(in("fits"), in("link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		in("pipe"): "not a regular file", "/dev/zero": "not a regular file", dir: "not a regular file",
		in("large"): "larger than 1 MB", in("nothing"): "no such file", in("fits"): "", in("link"): "", in("empty"): "",
	} {
		_, err := Read(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

// TestExposed names files that people can read or change whom they are not for.
func TestExposed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{
		0o600: "", 0o400: "", 0o640: "", 0o644: "everyone can read it", 0o602: "others can change it", 0o666: "others can change it",
	} {
		chmod(t, path, mode)
		if got := Exposed(path); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("mode %v: got %q, want %q", mode, got, want)
		}
	}
	chmod(t, path, 0o600)
	chown(t, path, 1234, -1)
	if got := Exposed(path); !strings.Contains(got, "belongs to another user") {
		t.Errorf("got %q", got)
	}
}
