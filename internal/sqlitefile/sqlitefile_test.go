package sqlitefile

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestMain lets a test run this binary as a process that holds a file, or reads one.
func TestMain(m *testing.M) {
	if path := os.Getenv("READ"); path != "" {
		db, err := OpenRead(context.Background(), path)
		if err == nil {
			err = Check(context.Background(), db)
		}
		if err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	if path := os.Getenv("HOLD"); path != "" {
		if _, err := Take(path); err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Stdout.WriteString("held\n")
		select {}
	}
	os.Exit(m.Run())
}

// TestCheckName refuses names that mean something else to SQLite, and not similar ones.
func TestCheckName(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"x.db": true, "./:memory:": true, "./file:x": true, "profile:x": true, "kaffee-größe.db": true, "": true,
		":memory:": false, "file:x.db?mode=memory": false, "x\xff.db": false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(
		os.Mkdir(at("sub"), 0o700),
		os.WriteFile(at("sub/real.db"), nil, 0o600),
		os.Symlink("sub/real.db", at("link.db")),
		os.Symlink("link.db", at("again.db")),
		os.Symlink(at("sub"), at("dir")),
		os.Symlink("sub/later.db", at("dangling.db")),
		os.Symlink("nowhere/later.db", at("lost.db")),
		os.Symlink("loop.db", at("loop.db")),
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"sub/real.db":   "sub/real.db",
		"link.db":       "sub/real.db",
		"again.db":      "sub/real.db",
		"dir/real.db":   "sub/real.db",
		"dir/new.db":    "sub/new.db",
		"dangling.db":   "sub/later.db",
		"new.db":        "new.db",
		"sub/../new.db": "new.db",
	} {
		if got, err := Resolve(dir + "/" + name); err != nil || got != at(want) {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
	}
	for _, name := range []string{"lost.db", "nowhere/new.db", "loop.db"} {
		if got, err := Resolve(at(name)); err == nil {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

// TestTake checks that a file has one hold, whatever it is called, until it is
// released.
func TestTake(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	real, hard, soft := filepath.Join(dir, "real"), filepath.Join(dir, "hard"), filepath.Join(dir, "soft")
	if err := errors.Join(os.WriteFile(real, nil, 0o600), os.Link(real, hard), os.Symlink(real, soft)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		hold, err := Take(real)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{real, hard, soft} {
			if _, err := Take(name); !errors.Is(err, ErrHeld) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		if err := hold.Release(); err != nil {
			t.Error(err)
		}
	}
	if !Holds {
		return
	}
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "HOLD="+hard)
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	if _, err := Take(real); !errors.Is(err, ErrHeld) {
		t.Errorf("got %v", err)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait() // it was killed
	hold, err := Take(real)
	if err != nil {
		t.Fatal("after its death:", err)
	}
	if err := hold.Release(); err != nil {
		t.Error(err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestDraft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a [strange] name.db")
	d, err := NewDraft(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(d.Name(), []byte("whole"), 0o600), os.WriteFile(d.Name()+"-journal", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it is there already")
	}
	if err := errors.Join(d.Publish(), d.Close()); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("there are %v", got)
	}
	if data, err := os.ReadFile(path); string(data) != "whole" {
		t.Errorf("got %s, %v", data, err)
	}
	// One draft comes too late, and one is given up.
	for _, publish := range []bool{true, false} {
		late, err := NewDraft(path)
		if err != nil {
			t.Fatal(err)
		}
		if publish {
			if err := late.Publish(); !errors.Is(err, fs.ErrExist) {
				t.Errorf("got %v", err)
			}
		}
		if err := late.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("there are %v", got)
	}
}

// TestDraftsThatWereLeft checks that the drafts of a killed process are removed,
// and that those in use are not.
func TestDraftsThatWereLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	working, err := NewDraft(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(working.Name()+"-journal", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-2 * time.Hour)
	for _, left := range []string{"x.db.new-1", "x.db.new-1-journal", "x.db.new-2-wal"} {
		name := filepath.Join(dir, left)
		if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Chtimes(name, long, long)); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []string{"x.db.newer", "y.db.new-1", "x.db"} {
		if err := os.WriteFile(filepath.Join(dir, other), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(path, filepath.Join(dir, "x.db.new-3")); err != nil {
		t.Fatal(err)
	}
	second, err := NewDraft(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); len(got) != 6 { // the others, the link, and the first draft with its journal
		t.Errorf("there are %v", got)
	}
	if err := working.Close(); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); len(got) != 4 {
		t.Errorf("there are %v", got)
	}
}

// TestHoldWhileProcessesStart: a file that was held a moment ago can be held again, although
// a process that is being started has a copy of what was open.
func TestHoldWhileProcessesStart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var starting sync.WaitGroup
	for range 4 {
		starting.Go(func() {
			for ctx.Err() == nil {
				if err := exec.Command("true").Run(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 3000 {
		hold, err := Take(path)
		if err != nil {
			t.Error(err)
			break
		}
		if err := hold.Release(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	starting.Wait()
}
