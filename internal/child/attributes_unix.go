//go:build unix && !linux

package child

import "syscall"

// Attributes returns attributes that shield a child from the terminal's Ctrl-C,
// which is for its parent. A parent that is killed leaves its children behind: only
// Linux can prevent that.
func Attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
