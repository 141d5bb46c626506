package renewed

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRenewed: what replaces a file or is written to it counts from the next use on, and
// what cannot be read does not.
func TestRenewed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	loads := 0
	errBad := errors.New("bad")
	load := func() (string, error) {
		loads++
		text, err := os.ReadFile(path)
		if err == nil && strings.HasPrefix(string(text), "bad") {
			err = errBad
		}
		return string(text), err
	}
	if _, err := New(load, path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	write(path, "one")
	f, err := New(load, path)
	if err != nil {
		t.Fatal(err)
	}
	want := func(text string, wantErr error, what string) {
		t.Helper()
		if got, err := f.Get(); got != text || !errors.Is(err, wantErr) {
			t.Errorf("%s: got %q, %v, want %q, %v", what, got, err, text, wantErr)
		}
	}
	loads = 0
	want("one", nil, "unchanged")
	if loads != 0 {
		t.Error("a file that has not changed was read again")
	}
	write(path, "second")
	want("second", nil, "written to")
	write(path, "bad, for now")
	want("second", errBad, "not readable")
	want("second", errBad, "still not readable")
	write(path+".new", "third!")
	if err := errors.Join(os.Chtimes(path+".new", time.Time{}, time.Unix(1, 0)), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
	want("third!", nil, "replaced by an older file")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want("third!", os.ErrNotExist, "removed")
	write(path, "fourth")
	want("fourth", nil, "there again")
}
