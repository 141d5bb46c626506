package sqlitefile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Create creates a file whole or not at all. fill writes it under another name,
// and it gets its own name when it is complete and durable. No database may be
// open on it when fill returns. Create returns [fs.ErrExist] if the name is taken
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

// Draft is a file that is being written under another name, readable by its owner
// only. It gets its own name when it is complete, so a file of that name is never
// half written, and an empty one is never one that was just begun.
type Draft struct {
	hold *Hold
	name string
	path string
}

// DraftInfix comes between the name of a file and the rest of the name of its draft.
const DraftInfix = ".new-"

// NewDraft begins a file. It first removes what is left of drafts of the same file
// whose process was killed.
func NewDraft(path string) (*Draft, error) {
	if err := RemoveDrafts(path); err != nil {
		return nil, err
	}
	for {
		file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+DraftInfix+"*")
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
		// Another process may have taken the draft for an abandoned one before it
		// was held.
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrHeld) {
			return nil, errors.Join(err, removeAll(d.name))
		}
	}
}

// Name returns the temporary name of the file.
func (d *Draft) Name() string { return d.name }

// Publish gives the file its name, and returns when that is durable. It returns
// [fs.ErrExist] if the name is taken; after any error the file does not have it. No database may be open on the draft, which
// must still be closed.
func (d *Draft) Publish() error {
	// What is in it must be durable before its name is.
	if err := d.hold.file.Sync(); err != nil {
		return err
	}
	if err := renameNew(d.name, d.path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(d.path)); err != nil {
		return errors.Join(err, os.Remove(d.path))
	}
	return nil
}

// Replace gives the file the name of the one that it replaces, which stays under the
// name kept. At every instant the whole file, old or new, has that name, even if the
// process is killed; [RemoveTwin] cleans up then. It returns [fs.ErrExist] if the name
// kept is taken, and another error if the old one has a log beside it, which SQLite
// would take for that of the new one. No database may be open on either file.
func (d *Draft) Replace(kept string) error {
	for _, ending := range besides {
		if log, err := os.Stat(d.path + ending); err == nil && log.Size() > 0 && ending != "-shm" {
			return errors.New(filepath.Base(d.path) + ending + " is there: another program has changed the file")
		}
	}
	if err := d.hold.file.Sync(); err != nil {
		return err
	}
	err := os.Link(d.path, kept)
	if _, exists := os.Lstat(kept); err != nil && errors.Is(exists, fs.ErrNotExist) { // a file system without hard links
		err = Create(kept, func(draft string) error { return copyFile(d.path, draft) })
	}
	if err != nil {
		return err
	}
	dir := filepath.Dir(d.path)
	if err := syncDir(dir); err != nil {
		return err
	}
	if err := os.Rename(d.name, d.path); err != nil {
		return errors.Join(err, os.Remove(kept))
	}
	return syncDir(dir)
}

// RemoveTwin removes the names that a file has besides its own and that begin with the
// prefix, in its directory: what [Draft.Replace] leaves if the process is killed before
// the file is replaced.
func RemoveTwin(path, prefix string) error {
	info, err := os.Stat(path)
	if err != nil || links(info) <= 1 {
		return err
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), prefix) || entry.Name() == filepath.Base(path) {
			continue
		}
		name := filepath.Join(filepath.Dir(path), entry.Name())
		if twin, err := os.Lstat(name); err == nil && os.SameFile(twin, info) {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyFile(from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := os.OpenFile(to, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// linkNew renames a file as [renameNew] does, where the system cannot. On a file
// system without hard links it uses a rename, which would replace a file that was
// created meanwhile.
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

// Close removes the draft, unless it was published, and whatever SQLite has left
// beside it.
func (d *Draft) Close() error { return errors.Join(removeAll(d.name), d.hold.Release()) }

// RemoveDrafts removes the drafts of a file whose process was killed: no process holds them.
// Before each of them it removes files that were published for it, if they exist.
func RemoveDrafts(path string, published ...string) error {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), filepath.Base(path)+DraftInfix) || !entry.Type().IsRegular() {
			continue
		}
		name := filepath.Join(dir, entry.Name())
		// A file that SQLite has put beside a draft is removed with the draft, or
		// by itself if the draft is gone.
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
			for _, file := range published {
				err = errors.Join(err, removeAll(file))
			}
			if err == nil {
				err = removeAll(name)
			}
		}
		if err := errors.Join(err, hold.Release()); err != nil {
			return err
		}
	}
	return nil
}

// abandoned reports whether a draft that is not held was left by a process that
// was killed. Where holds do not exclude other processes, the draft's age decides.
func abandoned(draft os.FileInfo) bool {
	return Holds || time.Since(draft.ModTime()) > time.Hour
}

// besides are the suffixes of the files that SQLite puts beside a database.
var besides = []string{"-journal", "-wal", "-shm"}

func withoutSuffix(name string) (database string, beside bool) {
	for _, ending := range besides {
		if database, ok := strings.CutSuffix(name, ending); ok {
			return database, true
		}
	}
	return name, false
}

// removeAll removes a database and the files beside it, if they exist.
func removeAll(name string) error {
	var errs []error
	for _, ending := range append([]string{""}, besides...) {
		if err := os.Remove(name + ending); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// syncDir returns when the names in a directory are durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // which has nothing of the kind
		return nil
	}
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
