//go:build unix && !linux

package chaos

import "syscall"

// childAttributes make a child deaf to the terminal's Ctrl-C, which is for its
// parent. A parent that is killed leaves its children behind: only Linux can
// prevent that.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
