package sqlitefile

import (
	"errors"
	"os"
	"slices"
	"sync"
)

// ErrHeld means that another process, or another part of this one, holds the file.
var ErrHeld = errors.New("the file is in use")

// Hold is exclusive use of a file, under all of its names. A file has at most one
// hold in this process, and at most one in all processes if [Holds] is true.
//
// A process that closes a file loses SQLite's locks on it, so no hold may be
// released while this process has the file open as a database.
type Hold struct {
	file *os.File
	info os.FileInfo
}

// holds are the holds of this process, which [Take] checks before it opens a file.
var holds struct {
	sync.Mutex
	all []*Hold
}

// Take takes hold of a file. It returns [ErrHeld] if it is held already.
func Take(path string) (*Hold, error) {
	holds.Lock()
	defer holds.Unlock()
	// This comes before the file is opened: closing it again could harm its
	// holder.
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

// Release gives up the hold.
func (h *Hold) Release() error {
	holds.Lock()
	defer holds.Unlock()
	holds.all = slices.DeleteFunc(holds.all, func(other *Hold) bool { return other == h })
	return errors.Join(unlock(h.file), h.file.Close())
}
