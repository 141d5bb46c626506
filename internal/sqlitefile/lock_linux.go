package sqlitefile

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Holds reports whether a hold keeps other processes out. Elsewhere it does so
// within this process alone: flock and fcntl exclude each other on other systems,
// and SQLite needs the latter.
const Holds = true

// lockByte is beyond the bytes that SQLite locks, in the page that it never writes
// to because of them (https://www.sqlite.org/fileformat.html#lockbyte).
const lockByte = 0x40000000 + 512

// lock takes the lock of a file. It belongs to the file, not to its name; it does
// not hinder SQLite; and it is gone with the process, however that ends.
func lock(file *os.File) error {
	err := unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: lockByte, Len: 1})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrHeld
	}
	return err
}

// renameNew renames a file. It returns [fs.ErrExist] if there is one of the new
// name.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // not on this file system
		return linkNew(from, to)
	}
	return err
}
