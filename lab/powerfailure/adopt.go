//go:build unix

package powerfailure

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// Adopt begins the recording of a file anew, with what is in it now, which counts as
// durable. It is for a database that a process that does not record has changed or made,
// before the others open it again.
func Adopt(recordings, path string) (err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	r, err := newRecorder(recordings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.file.Close()) }()
	inode := inodeOf(info.Sys().(*syscall.Stat_t))
	if err := saveBase(recordings, inode, bytes.NewReader(nil)); err != nil {
		return err
	}
	// As if it were a new file, to which all of it is written.
	if _, err := r.append(header{Kind: opened, Inode: inode, Begin: Now()}, []byte(path)); err != nil {
		return err
	}
	write, err := r.append(header{Kind: written, Inode: inode, Begin: Now()}, content)
	if err != nil {
		return err
	}
	if _, err := r.append(header{Kind: done, Inode: inode, Sequence: write, Value: Now()}, nil); err != nil {
		return err
	}
	return r.synced(inode, Now())
}
