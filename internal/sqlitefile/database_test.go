package sqlitefile

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFind: what SQLite would silently take for a new database is refused if it is what
// remains of an old one.
func TestFind(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare func(path string) error
		found   bool
		problem string // empty: none
	}{
		"nothing":           {func(string) error { return nil }, false, ""},
		"a file":            {func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }, true, ""},
		"an empty file":     {func(path string) error { return os.WriteFile(path, nil, 0o600) }, false, "is empty"},
		"a directory":       {func(path string) error { return os.Mkdir(path, 0o700) }, false, "is not a "},
		"only a log":        {func(path string) error { return os.WriteFile(path+"-wal", []byte("x"), 0o600) }, false, "x.db-wal is there"},
		"only an empty log": {func(path string) error { return os.WriteFile(path+"-wal", nil, 0o600) }, false, ""},
	} {
		path := filepath.Join(t.TempDir(), "x.db")
		if err := test.prepare(path); err != nil {
			t.Fatal(err)
		}
		found, err := Find(path)
		var problem *Problem
		switch {
		case found != test.found:
			t.Errorf("%s: found is %v", name, found)
		case test.problem == "" && err != nil:
			t.Errorf("%s: got %v", name, err)
		case test.problem != "" && (!errors.As(err, &problem) || !strings.Contains(problem.Text, test.problem)):
			t.Errorf("%s: got %v, want a problem: %s", name, err, test.problem)
		}
	}
}

// database creates a database in a file with one row, and leaves it open.
func database(t *testing.T, path string) *sql.DB {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", DSN(path, "rw", map[string]string{"journal_mode": "wal"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec(`CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT); INSERT INTO t VALUES (1, 'one')`); err != nil {
		t.Fatal(err)
	}
	return db
}

func count(t *testing.T, db *sql.DB) int {
	t.Helper()
	var n int
	if err := db.QueryRow(`SELECT count(*) FROM t`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCheck: a page that was overwritten with zeros is found.
func TestCheck(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	db := database(t, path)
	if err := Check(context.Background(), db); err != nil {
		t.Errorf("intact: %v", err)
	}
	if _, err := db.Exec(`WITH RECURSIVE more (n) AS (VALUES (2) UNION ALL SELECT n + 1 FROM more WHERE n < 100)
		INSERT INTO t SELECT n, hex(zeroblob(1000)) FROM more`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil { // which empties the log
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(data[10*4096:], make([]byte, 4096))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	damaged, err := sql.Open("sqlite", DSN(path, "rw"))
	if err != nil {
		t.Fatal(err)
	}
	defer damaged.Close()
	var problem *Problem
	if err := Check(context.Background(), damaged); !errors.As(err, &problem) || !strings.HasPrefix(problem.Text, "is damaged: ") || strings.Contains(problem.Text, "\n") {
		t.Errorf("got %v", err)
	}
}

// TestSnapshotOfADatabaseInUse: a copy has what was in the database when the
// snapshot was taken, and not what was written since.
func TestSnapshotOfADatabaseInUse(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	db := database(t, filepath.Join(dir, "x.db"))
	snapshot, err := OpenSnapshot(ctx, filepath.Join(dir, "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO t VALUES (2, 'two')`); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "copies", "x.db")
	if err := os.Mkdir(filepath.Dir(target), 0o700); err != nil {
		t.Fatal(err)
	}
	copied := func() error {
		draft, err := NewDraft(target)
		if err != nil {
			return err
		}
		return errors.Join(snapshot.CopyTo(ctx, draft), draft.Publish(), draft.Close())
	}
	if err := copied(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	// A second copy does not replace the first.
	if err := copied(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second copy: %v", err)
	}
	if err := snapshot.Close(); err != nil {
		t.Error(err)
	}
	if got := names(t, filepath.Dir(target)); !slices.Equal(got, []string{"x.db"}) {
		t.Errorf("there are %v", got)
	}
	if now, err := os.ReadFile(target); err != nil || !bytes.Equal(now, whole) {
		t.Errorf("the first copy was changed, %v", err)
	}
	replica, err := sql.Open("sqlite", DSN(target, "ro"))
	if err != nil {
		t.Fatal(err)
	}
	defer replica.Close()
	var journal string
	if err := replica.QueryRow(`PRAGMA journal_mode`).Scan(&journal); err != nil || journal != "delete" {
		t.Errorf("the copy's journal mode is %q, %v", journal, err)
	}
	if got, original := count(t, replica), count(t, db); got != 1 || original != 2 {
		t.Errorf("the copy has %d rows, want 1; the original has %d, want 2", got, original)
	}
}

// TestCreate: a file is created whole or not at all, and never replaces another.
func TestCreate(t *testing.T) {
	t.Parallel()
	failed := errors.New("disk full")
	for name, test := range map[string]struct {
		taken bool
		fill  error
		want  error
		left  string // what is in the file; empty if there is none
	}{
		"created": {false, nil, nil, "new"},
		"taken":   {true, nil, fs.ErrExist, "old"},
		"failed":  {false, failed, failed, ""},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.db")
		err := Create(path, func(draft string) error {
			if test.taken { // meanwhile
				if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
					return err
				}
			}
			return errors.Join(os.WriteFile(draft, []byte("new"), 0o600), test.fill)
		})
		if !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
		var want []string
		if test.left != "" {
			want = []string{"x.db"}
			if data, err := os.ReadFile(path); string(data) != test.left {
				t.Errorf("%s: it has %q, %v", name, data, err)
			}
		}
		if got := names(t, dir); !slices.Equal(got, want) {
			t.Errorf("%s: there are %v, want %v", name, got, want)
		}
	}
}
