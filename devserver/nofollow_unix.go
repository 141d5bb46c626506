//go:build unix

package devserver

import "syscall"

// notThroughLinks opens a file by its own name alone, and does not wait for whoever
// is at the other end of a pipe.
const notThroughLinks = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
