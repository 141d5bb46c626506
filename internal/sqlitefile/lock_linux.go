package sqlitefile

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Holds reports whether a hold excludes other processes. On other systems a hold
// works only within this process: there flock and fcntl locks exclude each other,
// and SQLite needs the latter.
const Holds = true

// lockByte is beyond the bytes that SQLite locks, in the page that SQLite never
// writes to because of them (https://www.sqlite.org/fileformat.html#lockbyte).
const lockByte = 0x40000000 + 512

// lock locks a file, or returns [ErrHeld]. The lock belongs to the file, not to
// its name. It does not hinder SQLite, and it is released however the process
// ends.
//
// A process that is being started has copies of all open files until the kernel has
// closed them for its program, and with them the locks of a process that was killed
// meanwhile. That takes a moment, so the lock is tried for longer.
func lock(file *os.File) error {
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		err := setLock(file, unix.F_WRLCK)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			return err
		}
		if time.Since(began) > lockPatience {
			return ErrHeld
		}
	}
}

// unlock releases the lock, whoever has copies of the file.
func unlock(file *os.File) error { return setLock(file, unix.F_UNLCK) }

func setLock(file *os.File, kind int16) error {
	return unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: lockByte, Len: 1})
}

// lockPatience is how long a lock is tried.
const lockPatience = 200 * time.Millisecond

// renameNew renames a file. It returns [fs.ErrExist] if the new name is taken.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // not supported by this file system
		return linkNew(from, to)
	}
	return err
}
