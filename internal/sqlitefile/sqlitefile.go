// Package sqlitefile has what the server's database and the ledger share: finding
// out which file a name stands for, making a file whole or not at all, and seeing
// to it that one process at most uses it.
package sqlitefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// Resolve returns the absolute path of a file, without symbolic links. The file
// need not exist, its directory must: a link to a file that does not exist yet
// stands for that file. SQLite, too, names the files that it puts beside a database
// after where its links lead.
func Resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for range 40 { // as many links in a row as Linux follows
		resolved, err := filepath.EvalSymlinks(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return resolved, err
		}
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		target, err := os.Readlink(path)
		if err != nil { // it is no link
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return "", errors.New("too many levels of symbolic links")
}

// CheckNames returns an error if a file has more than one name. SQLite keeps its log
// beside a database, by name: what was written under one name would be lost under
// another one, and what is written then is no longer what the log belongs to
// (https://www.sqlite.org/howtocorrupt.html, 2.5).
func CheckNames(path string) error {
	for range 20 {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if links(info) <= 1 {
			return nil
		}
		time.Sleep(50 * time.Millisecond) // it may be about to be published, see linkNew
	}
	return errors.New("it has more than one name (a hard link), and SQLite's log would belong to one of them: leave it one name")
}

// ErrHeld: another process, or another part of this one, holds the file.
var ErrHeld = errors.New("the file is in use")

// Hold is a hold on a file, under whatever name. One at most is on a file at any
// time, as far as the system has locks for it; see [Holds].
//
// A process that closes a file loses SQLite's locks on it, so no hold may be
// released while this process has the file open as a database.
type Hold struct {
	file *os.File
	info os.FileInfo
}

// holds are those of this process, which the system's locks do not tell apart.
var holds struct {
	sync.Mutex
	all []*Hold
}

// Take takes hold of a file. It returns [ErrHeld] if it is held already.
func Take(path string) (*Hold, error) {
	holds.Lock()
	defer holds.Unlock()
	// Before it is opened: to close it again could harm whoever holds it.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(holds.all, func(h *Hold) bool { return os.SameFile(h.info, info) }) {
		return nil, ErrHeld
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := lock(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	h := &Hold{file: file, info: info}
	holds.all = append(holds.all, h)
	return h, nil
}

// Release gives the file up.
func (h *Hold) Release() error {
	holds.Lock()
	defer holds.Unlock()
	holds.all = slices.DeleteFunc(holds.all, func(other *Hold) bool { return other == h })
	return h.file.Close()
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
