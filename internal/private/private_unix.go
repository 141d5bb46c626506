//go:build unix

package private

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

const (
	// nonblocking opens a pipe without waiting for its other end.
	nonblocking = syscall.O_NONBLOCK
	// enforced: a file's mode says who may use it.
	enforced = true
)

// foreign reports whether a file belongs to a user who is neither this one nor root.
func foreign(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid()
}

// writable reports whether others than a file's owner and root may write to it. The group
// does not count if it is root's, or the owner's own, which by custom has the owner's number.
func writable(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	own := ok && (stat.Gid == 0 || stat.Gid == stat.Uid)
	return info.Mode()&0o002 != 0 || info.Mode()&0o020 != 0 && !own
}

// keepOwner gives a file the owner and the group of another one.
func keepOwner(file *os.File, of fs.FileInfo) error {
	stat, ok := of.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if err := file.Chown(int(stat.Uid), int(stat.Gid)); err != nil {
		return fmt.Errorf("the new file cannot have the owner of the old one: %w", err)
	}
	return nil
}
