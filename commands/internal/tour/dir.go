package tour

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// dir is the temporary directory of a chapter. It is locked while its tour is alive:
// a tour that was killed leaves its directory behind, and the next one removes it.
type dir struct {
	path string
	lock *flock.Flock
}

const (
	dirPattern = "coffee-tour-*"
	lockName   = "lock"
)

// makeDir makes a directory, and removes those of tours that were killed.
func makeDir() (*dir, error) {
	abandoned, err := filepath.Glob(filepath.Join(os.TempDir(), dirPattern, lockName))
	if err != nil {
		return nil, err
	}
	for _, path := range abandoned {
		d := &dir{filepath.Dir(path), flock.New(path)}
		// What cannot be locked or removed belongs to another tour, or another user.
		if locked, err := d.lock.TryLock(); err == nil && locked {
			_ = d.remove()
		}
	}
	path, err := os.MkdirTemp("", dirPattern)
	if err != nil {
		return nil, err
	}
	d := &dir{path, flock.New(filepath.Join(path, lockName))}
	if _, err := d.lock.TryLock(); err != nil {
		return nil, errors.Join(err, d.remove())
	}
	return d, nil
}

// remove removes the directory.
func (d *dir) remove() error { return errors.Join(d.lock.Close(), os.RemoveAll(d.path)) }
