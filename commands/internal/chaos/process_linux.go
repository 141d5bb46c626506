package chaos

import "syscall"

// childAttributes make a child deaf to the terminal's Ctrl-C, which is for its
// parent, and end it when its parent dies, however it dies.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
