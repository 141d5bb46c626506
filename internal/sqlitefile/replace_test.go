package sqlitefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestReplace: the file has its name at every instant, old or new, and the old one is
// kept.
func TestReplace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	if err := os.WriteFile(path, []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			if data, err := os.ReadFile(path); err != nil || len(data) == 0 {
				t.Errorf("the file has %q, %v", data, err)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for n := 1; n <= 50; n++ {
		draft, err := NewDraft(path)
		if err != nil {
			t.Fatal(err)
		}
		kept := fmt.Sprintf("%s.before-%d", path, n)
		err = errors.Join(os.WriteFile(draft.Name(), fmt.Append(nil, n), 0o600), draft.Replace(kept), draft.Close())
		if err != nil {
			t.Fatal(err)
		}
		now, nowErr := os.ReadFile(path)
		before, beforeErr := os.ReadFile(kept)
		if string(now) != fmt.Sprint(n) || string(before) != fmt.Sprint(n-1) {
			t.Fatalf("replacement %d: the file has %q, %v; the one that is kept has %q, %v", n, now, nowErr, before, beforeErr)
		}
	}
	close(done)
	watching.Wait()

	// What is kept does not replace anything, and the log of the old file is not left to
	// the new one.
	draft, err := NewDraft(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"-wal", []byte("a commit"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := draft.Replace(path + ".before-51"); err == nil || !strings.Contains(err.Error(), "x.db-wal is there") {
		t.Errorf("with a log: %v", err)
	}
	if err := os.Remove(path + "-wal"); err != nil {
		t.Fatal(err)
	}
	if err := draft.Replace(path + ".before-1"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if err := draft.Close(); err != nil {
		t.Error(err)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != "50" {
		t.Errorf("the file has %q, %v", now, err)
	}
}

// TestRemoveTwin removes the name that a killed replacement left, and no other file.
func TestRemoveTwin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(
		os.WriteFile(at("x.db"), []byte("x"), 0o600),
		os.Link(at("x.db"), at("x.db.before-1")),
		os.WriteFile(at("x.db.before-0"), []byte("older"), 0o600),
		os.Link(at("x.db"), at("another-name")),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := RemoveTwin(at("x.db"), "x.db.before-"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"x.db": true, "x.db.before-1": false, "x.db.before-0": true, "another-name": true} {
		if _, err := os.Stat(at(name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
}
