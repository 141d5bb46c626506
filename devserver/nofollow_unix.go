//go:build unix

package devserver

import "syscall"

// notThroughLinks has the flags to open a file without following a symbolic link,
// and without waiting for the other end of a pipe.
const notThroughLinks = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
