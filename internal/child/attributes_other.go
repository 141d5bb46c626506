//go:build !unix

package child

import "syscall"

// Attributes returns no attributes: a parent that is killed leaves its children
// behind.
func Attributes() *syscall.SysProcAttr { return nil }
