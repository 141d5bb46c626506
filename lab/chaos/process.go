//go:build unix

package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"example.com/coffee/internal/child"
	"example.com/coffee/internal/exit"
)

// process is one process of a chaos run. It is restarted whenever it ends, as a
// service manager would do.
type process struct {
	name string
	// program is coffee or lab: this executable is either, by the name it is called.
	program string
	args    []string
	env     []string
	log     string // the file that gets its output
	// faults are those that it injects into itself all the time.
	faults []string
	// giveUp is how often it may end by itself in a row, soon after its start; 0 means as
	// often as it likes.
	giveUp int
	// buildID is the release of a worker; empty if the workers have none.
	buildID string
	// once means that it is not restarted after it has succeeded.
	once bool

	mu       sync.Mutex
	cmd      *exec.Cmd  // nil while it is down
	changed  *sync.Cond // when cmd, held or stopping has changed
	held     bool       // it stays down
	gone     bool       // for good
	downtime time.Duration
	killed   bool
	frozen   int // the freezes that are not over yet
	stopping bool
	done     <-chan struct{} // closed when it will not be restarted any more
	err      error           // why, if that is an error
	exits    []crash         // the times that it ended by itself with an error
	inARow   int             // how many of them came one after the other
	pids     []int           // its process ids so far
	logStart int64           // where the log of the current process begins
	next     restart         // what the next start is like, if not as usual
}

// restart is a start of a process that is not as usual.
type restart struct {
	// prepare, unless nil, is called before it.
	prepare func() error
	// env is a further part of its environment, for this time only.
	env []string
	// killAfter is how long the process runs before it is killed again; 0 means for
	// good.
	killAfter time.Duration
}

// crash is the end of a process that ended by itself with an error.
type crash struct {
	ended time.Time
	code  int
	what  string
}

// soon is how long a process runs that has started well.
const soon = 5 * time.Second

// restartPause is the pause before a process that ended by itself is restarted.
const restartPause = 200 * time.Millisecond

// start starts the process and keeps it alive until it is stopped.
func (p *process) start() error {
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	p.done = done
	p.changed = sync.NewCond(&p.mu)
	go func() {
		defer close(done)
		defer log.Close()
		// On Linux a child that must not outlive its parent is tied to the thread
		// that started it.
		runtime.LockOSThread()
		for p.runOnce(executable, log) {
		}
	}()
	return nil
}

// runOnce runs the process until it ends, and reports whether to run it again.
func (p *process) runOnce(executable string, log *os.File) (again bool) {
	cmd := exec.Command(executable)
	cmd.Args = append([]string{cmp.Or(p.program, "coffee")}, p.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = child.Attributes()

	p.mu.Lock()
	for p.held && !p.stopping {
		p.changed.Wait()
	}
	if p.stopping {
		p.mu.Unlock()
		return false
	}
	next := p.next
	p.next = restart{}
	if next.prepare != nil {
		p.err = next.prepare()
	}
	if p.err != nil {
		p.mu.Unlock()
		return false
	}
	cmd.Env = slices.Concat(p.env, next.env)
	if err := cmd.Start(); err != nil {
		p.err = err
		p.mu.Unlock()
		return false
	}
	began := time.Now()
	if info, err := log.Stat(); err == nil { // otherwise logStart stays where it was
		p.logStart = info.Size()
	}
	p.cmd, p.downtime, p.frozen, p.killed = cmd, restartPause, 0, false
	p.pids = append(p.pids, cmd.Process.Pid)
	if next.killAfter > 0 {
		time.AfterFunc(next.killAfter, func() { p.killThis(cmd, restartPause) })
	}
	p.mu.Unlock()

	err := cmd.Wait()
	p.mu.Lock()
	p.cmd = nil
	p.changed.Broadcast()
	downtime, stopping := p.downtime, p.stopping
	// One that has only just started is not ready yet for the signal that asks it to stop.
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	stopped := p.stopping && (cmd.ProcessState.ExitCode() == exit.Interrupted || status.Signaled() && status.Signal() == syscall.SIGTERM)
	if code := cmd.ProcessState.ExitCode(); code != 0 && !p.killed && !stopped {
		p.exits = append(p.exits, crash{time.Now(), code, fmt.Sprintf("the %s ended by itself: %v; see %s", p.name, err, p.log)})
		if p.inARow++; time.Since(began) > soon {
			p.inARow = 1
		}
		if p.giveUp > 0 && p.inARow >= p.giveUp {
			p.err = fmt.Errorf("the %s does not start any more: %w; see %s", p.name, err, p.log)
		}
	} else {
		p.inARow = 0
	}
	failed := p.err != nil
	p.mu.Unlock()
	if stopping || failed || p.once && err == nil {
		return false
	}
	time.Sleep(downtime) // it stays down
	return true
}

// failure returns why the process is not restarted any more; nil if it is.
func (p *process) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// isFrozen reports whether the process is frozen.
func (p *process) isFrozen() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil && p.frozen > 0
}

// kill kills the process, which stays down for the downtime. It returns the process
// id, or 0 if the process was already down.
func (p *process) kill(downtime time.Duration) (pid int) { return p.killThis(nil, downtime) }

// restart kills the process and starts it again, not as usual. It returns the process
// id, or 0 if the process was already down.
func (p *process) restart(next restart) (pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pid = p.killLocked(restartPause); pid != 0 {
		p.next = next
	}
	return pid
}

// hold kills the process, and returns when it is down. It stays down until release is
// called.
func (p *process) hold() {
	p.mu.Lock()
	p.held = true
	p.mu.Unlock()
	p.kill(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.cmd != nil {
		p.changed.Wait()
	}
}

// release lets the process start again, unless it is gone for good.
func (p *process) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = p.gone
	p.changed.Broadcast()
}

// killThis kills the process unless it is another one than cmd by now; nil means any.
func (p *process) killThis(cmd *exec.Cmd, downtime time.Duration) (pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cmd != nil && p.cmd != cmd {
		return 0
	}
	return p.killLocked(downtime)
}

// killLocked kills the process, unless it is down, or killed already and still ending.
func (p *process) killLocked(downtime time.Duration) (pid int) {
	if p.cmd == nil || p.killed || p.cmd.Process.Signal(syscall.SIGKILL) != nil {
		return 0
	}
	p.downtime, p.killed = downtime, true
	return p.cmd.Process.Pid
}

// signal sends a signal that may end the process, which is no incident then.
func (p *process) signal(signal syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil && p.cmd.Process.Signal(signal) == nil {
		p.killed = true
	}
}

// lose kills the process for good.
func (p *process) lose() {
	p.hold()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
}

// freeze suspends the process, and wakes it after the pause. It returns the process
// id, or 0 if the process was down.
func (p *process) freeze(pause time.Duration) (pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.cmd.Process.Signal(syscall.SIGSTOP) != nil {
		return 0
	}
	cmd := p.cmd
	p.frozen++
	time.AfterFunc(pause, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.cmd != cmd { // it was killed in its sleep
			return
		}
		if p.frozen--; p.frozen == 0 {
			cmd.Process.Signal(syscall.SIGCONT)
		}
	})
	return cmd.Process.Pid
}

// stop wakes the process, asks it to end, and waits until it has. If the context
// ends first, stop kills the process.
func (p *process) stop(ctx context.Context) error {
	p.mu.Lock()
	p.stopping = true
	p.changed.Broadcast()
	if p.cmd != nil {
		p.cmd.Process.Signal(syscall.SIGCONT)
		p.cmd.Process.Signal(syscall.SIGTERM)
	}
	p.mu.Unlock()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
	}
	p.end()
	return errors.Join(p.err, fmt.Errorf("the %s did not stop when it was asked to", p.name))
}

// end kills the process for good.
func (p *process) end() {
	p.mu.Lock()
	p.stopping = true
	p.changed.Broadcast()
	if p.cmd != nil {
		p.killed = true
		p.cmd.Process.Signal(syscall.SIGKILL)
	}
	p.mu.Unlock()
	<-p.done
}
