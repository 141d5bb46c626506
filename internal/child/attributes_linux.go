package child

import "syscall"

// Attributes returns attributes that shield a child from the terminal's Ctrl-C,
// which is for its parent, and kill it when its parent dies, however that happens.
func Attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
