//go:build unix

package encryption

import (
	"fmt"
	"os"
	"syscall"
)

// keepOwner gives a file the owner and the group of another one.
func keepOwner(file *os.File, of os.FileInfo) error {
	stat, ok := of.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if err := file.Chown(int(stat.Uid), int(stat.Gid)); err != nil {
		return fmt.Errorf("the new file cannot have the owner of the old one: %w", err)
	}
	return nil
}
