// Package private reads and writes files that are their owner's alone: keys, keysets,
// certificates and profiles.
package private

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// maxSize is the size in bytes of the largest file that [Read] takes. A key is a thousandth
// of it.
const maxSize = 1 << 20

// Read reads a file whole. It refuses what would block, has no end, or is larger than a key
// can be; links are followed, because secrets are often mounted as such.
func Read(path string) (data []byte, err error) {
	file, err := os.OpenFile(path, os.O_RDONLY|nonblocking, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	data, err = io.ReadAll(io.LimitReader(file, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = &fs.PathError{Op: "read", Path: path, Err: errors.New("larger than 1 MB")}
	}
	return data, err
}

// Exposed says how a file could be read or changed by people whom it is not for, or returns
// "" if it could not. A group may read it: whoever gave it to one meant that.
func Exposed(path string) string {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return "" // reading it says more
	}
	switch mode := info.Mode().Perm(); {
	case foreign(info):
		return fmt.Sprintf("%s belongs to another user, who can read and change it", path)
	case writable(info):
		return fmt.Sprintf("%s has mode %04o, so others can change it: run chmod go-w on it", path, mode)
	case mode&0o004 != 0 && enforced:
		return fmt.Sprintf("%s has mode %04o, so everyone can read it: run chmod o-r on it", path, mode)
	}
	return ""
}

// CheckDir returns an error if somebody else could change what is in a directory: its owner
// must be this user or root, and nobody else may write to it, not even where the sticky bit
// protects the files that are there. No directory above it may let everyone rename it.
func CheckDir(dir string) error {
	_, err := resolve(dir)
	return err
}

// resolve returns the absolute path of a directory, without links, if [CheckDir] accepts it.
func resolve(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return "", err
	case !info.IsDir():
		return "", fmt.Errorf("%s is not a directory", dir)
	case foreign(info):
		return "", fmt.Errorf("the directory %s belongs to another user, who can replace its files: use one of your own", dir)
	case writable(info):
		return "", fmt.Errorf("the directory %s has mode %04o, so others can replace its files: run chmod go-w on it, or use another one", dir, info.Mode().Perm())
	}
	for above := filepath.Dir(dir); above != filepath.Dir(above); above = filepath.Dir(above) {
		info, err := os.Stat(above)
		if err != nil {
			return "", err
		}
		if enforced && info.Mode()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return "", fmt.Errorf("the directory %s has mode %04o, so everyone can replace what is in it, %s included: run chmod o-w on it, or use another one", above, info.Mode().Perm(), dir)
		}
	}
	return dir, nil
}

// Write replaces a file, or creates it, as a whole or not at all, and returns when that is
// durable. The mode is what others may do; a link of that name is replaced, not followed.
// The directory must be one that [CheckDir] accepts.
func Write(path string, data []byte, mode fs.FileMode) error {
	return write(path, data, func(draft *os.File) error { return draft.Chmod(mode) })
}

// Rewrite replaces a file like [Write]. Owner and group stay, and the group can go on
// reading it; nobody else can, whatever the file's mode was.
func Rewrite(path string, data []byte) error {
	old, err := os.Lstat(path)
	if err != nil {
		return err
	}
	return write(path, data, func(draft *os.File) error {
		return errors.Join(keepOwner(draft, old), draft.Chmod(old.Mode().Perm()&0o640|0o600))
	})
}

func write(path string, data []byte, protect func(draft *os.File) error) error {
	dir, err := resolve(filepath.Dir(path))
	if err != nil {
		return err
	}
	draft, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // its owner's alone
	if err != nil {
		return err
	}
	_, err = draft.Write(data)
	if err == nil {
		err = protect(draft)
	}
	if err == nil {
		err = draft.Sync()
	}
	if err = errors.Join(err, draft.Close()); err == nil {
		err = os.Rename(draft.Name(), filepath.Join(dir, filepath.Base(path)))
	}
	if err != nil {
		return errors.Join(err, os.Remove(draft.Name()))
	}
	return syncDir(dir)
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
