package sqlitefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Create makes a file whole or not at all: fill makes it under another name, and
// it gets its own name when it is complete and durable. No database may be open on
// it when fill returns. Create returns [fs.ErrExist] if there is a file of this name
// by then.
func Create(path string, fill func(draft string) error) (err error) {
	d, err := NewDraft(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := fill(d.Name()); err != nil {
		return err
	}
	return d.Publish()
}

// Draft is a file that is being made under another name, readable by its owner
// alone. It gets its name when it is complete: so a file is never seen half made,
// and an empty one is never one that was just begun.
type Draft struct {
	hold *Hold
	name string
	path string
}

const draftInfix = ".new-"

// NewDraft begins a file, after it has removed what is left of drafts of the same
// file whose process was killed.
func NewDraft(path string) (*Draft, error) {
	if err := removeDrafts(path); err != nil {
		return nil, err
	}
	for {
		file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+draftInfix+"*")
		if err != nil {
			return nil, err
		}
		d := &Draft{name: file.Name(), path: path}
		if err := file.Close(); err != nil {
			return nil, errors.Join(err, removeAll(d.name))
		}
		d.hold, err = Take(d.name)
		if err == nil {
			if now, err := os.Stat(d.name); err == nil && os.SameFile(now, d.hold.info) {
				return d, nil
			}
			err = d.hold.Release()
		}
		// Somebody may have taken it for one that was left, before it was held.
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrHeld) {
			return nil, errors.Join(err, removeAll(d.name))
		}
	}
}

// Name is what the file is called for the time being.
func (d *Draft) Name() string { return d.name }

// Publish gives the file its name, and returns when that is durable. It returns
// [fs.ErrExist] if there is a file of this name. The draft remains to be closed,
// and no database may be open on it.
func (d *Draft) Publish() error {
	// What is in it must be durable before its name is.
	if err := d.hold.file.Sync(); err != nil {
		return err
	}
	if err := renameNew(d.name, d.path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(d.path))
}

// linkNew renames a file as [renameNew] does, where the system cannot. A rename
// would replace a file that has come meanwhile; it is for file systems without hard
// links.
func linkNew(from, to string) error {
	err := os.Link(from, to)
	if err == nil {
		return os.Remove(from)
	}
	if _, exists := os.Lstat(to); errors.Is(exists, fs.ErrNotExist) {
		return os.Rename(from, to)
	}
	return err
}

// Close removes the draft, unless it was published, with whatever SQLite has left
// beside it.
func (d *Draft) Close() error { return errors.Join(removeAll(d.name), d.hold.Release()) }

// removeDrafts removes the drafts of a file that nobody holds.
func removeDrafts(path string) error {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), filepath.Base(path)+draftInfix) || !entry.Type().IsRegular() {
			continue
		}
		name := filepath.Join(dir, entry.Name())
		// What SQLite has put beside a draft goes with it, or is left of one.
		draft, beside := withoutSuffix(name)
		if _, err := os.Stat(draft); beside && err == nil {
			continue
		}
		hold, err := Take(name)
		if errors.Is(err, ErrHeld) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if abandoned(hold.info) {
			err = removeAll(name)
		}
		if err := errors.Join(err, hold.Release()); err != nil {
			return err
		}
	}
	return nil
}

// abandoned reports whether a draft that is not held is left of a process that was
// killed. Where holds do not reach other processes, its age has to tell.
func abandoned(draft os.FileInfo) bool {
	return Holds || time.Since(draft.ModTime()) > time.Hour
}

// besides are the endings of the files that SQLite puts beside a database.
var besides = []string{"-journal", "-wal", "-shm"}

func withoutSuffix(name string) (database string, beside bool) {
	for _, ending := range besides {
		if database, ok := strings.CutSuffix(name, ending); ok {
			return database, true
		}
	}
	return name, false
}

// removeAll removes a database, as far as it is there.
func removeAll(name string) error {
	var errs []error
	for _, ending := range append([]string{""}, besides...) {
		if err := os.Remove(name + ending); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// SyncDir returns when the names in a directory are durable.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" { // which has nothing of the kind
		return nil
	}
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
