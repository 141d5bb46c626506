//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// process is a process that is started again whenever it ends.
type process struct {
	name, log, pid string // pid is a file with its process id
	command        func() *exec.Cmd
	done           chan struct{}

	mu       sync.Mutex
	running  *exec.Cmd
	stopping bool
}

// restartPause is the pause before a process that ended is started again.
const restartPause = time.Second

// start starts the process, and keeps it running.
func (p *process) start() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	if err := p.once(log); err != nil {
		return errors.Join(err, log.Close())
	}
	go func() {
		defer close(p.done)
		defer log.Close()
		for {
			_ = p.running.Wait() // however it ended
			time.Sleep(restartPause)
			p.mu.Lock()
			stopping := p.stopping
			p.mu.Unlock()
			if stopping || p.once(log) != nil {
				return
			}
		}
	}()
	return nil
}

// once starts the process.
func (p *process) once(log *os.File) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true // an interrupt is for the cluster, which stops them in order
	if err := cmd.Start(); err != nil {
		return err
	}
	p.running = cmd
	return os.WriteFile(p.pid, []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o644)
}

// stop begins to end the process for good. There is nothing to keep.
func (p *process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopping = true
	_ = kill(p.name, p.running.Process.Pid) // it may be gone already
}
