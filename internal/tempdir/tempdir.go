// Package tempdir makes temporary directories that do not outlive their process. What a
// process leaves that was killed, the next one that makes such a directory removes.
package tempdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// Dir is a temporary directory. A lock on a file in it shows that its process lives: the
// lock ends however the process does, and says so in containers too, which may share the
// directory but not the process ids.
type Dir struct {
	path string
	lock *flock.Flock
}

const (
	prefix = "coffee-"
	// lockName marks a directory as one of this package.
	lockName = ".coffee-lock"
)

// Make makes a directory that only its owner can access, and whose name begins with
// coffee- and the kind. It removes those that processes of the same user have left.
func Make(kind string) (*Dir, error) {
	removeAbandoned()
	for {
		path, err := os.MkdirTemp("", prefix+kind+"-*")
		if err != nil {
			return nil, err
		}
		d := &Dir{path, flock.New(filepath.Join(path, lockName), flock.SetPermissions(0o600))}
		locked, err := d.lock.TryLock()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(err, d.Remove())
		}
		if locked {
			if _, err := os.Lstat(d.lock.Path()); err == nil {
				return d, nil
			}
		}
		// Another process took it for an abandoned one before it was locked.
		if err := d.lock.Close(); err != nil {
			return nil, err
		}
	}
}

// Path returns the path of the directory.
func (d *Dir) Path() string { return d.path }

// Remove removes the directory and everything in it.
func (d *Dir) Remove() error {
	// The mark goes last: if this is interrupted, the next process goes on with it.
	entries, err := os.ReadDir(d.path)
	errs := []error{err}
	for _, entry := range entries {
		if entry.Name() != lockName {
			errs = append(errs, os.RemoveAll(filepath.Join(d.path, entry.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, d.lock.Close())
	}
	return errors.Join(d.lock.Close(), os.RemoveAll(d.path))
}

// Keep leaves the directory to the user: no process removes it.
func (d *Dir) Keep() error { return errors.Join(d.lock.Close(), os.Remove(d.lock.Path())) }

// removeAbandoned removes what processes of this user have left. What cannot be removed
// stays: it harms nobody.
func removeAbandoned() {
	entries, err := os.ReadDir(os.TempDir())
	if err != nil {
		return
	}
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), prefix) { // a link is no directory
			continue
		}
		path := filepath.Join(os.TempDir(), entry.Name())
		if info, err := entry.Info(); err != nil || !isOwn(info) {
			continue
		}
		if info, err := os.Lstat(filepath.Join(path, lockName)); err != nil || !info.Mode().IsRegular() {
			continue
		}
		d := &Dir{path, flock.New(filepath.Join(path, lockName), flock.SetFlag(os.O_RDWR))}
		if locked, err := d.lock.TryLock(); err == nil && locked {
			_ = d.Remove()
		}
	}
}
