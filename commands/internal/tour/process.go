package tour

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"example.com/coffee/internal/child"
	"example.com/coffee/internal/release"
	"example.com/coffee/internal/text"
)

// process is this program, run again, or a worker in this one.
type process struct {
	name string
	cmd  *exec.Cmd // nil in this process
	log  string    // its file
	read int       // how much of the log was shown
	stop context.CancelFunc
	done chan struct{}
}

// text returns what a process has printed so far.
func (p *process) text() string {
	text, _ := os.ReadFile(p.log) // without it, what is waited for does not come
	return string(text)
}

// end ends a process as kill -9 does, and waits for it.
func (p *process) end() {
	p.stop()
	<-p.done
}

// launch runs this program until the context ends.
func (g *guide) launch(ctx context.Context, stdout, stderr io.Writer, args ...string) *process {
	executable, err := os.Executable()
	g.must(err)
	p := &process{name: args[0], done: make(chan struct{})}
	ctx, p.stop = context.WithCancel(ctx)
	p.cmd = exec.CommandContext(ctx, executable)
	p.cmd.Args, p.cmd.Env = append([]string{"coffee"}, args...), g.env
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = stdout, stderr, child.Attributes()
	started := make(chan error)
	go func() {
		defer close(p.done)
		// On Linux a child that must not outlive its parent is tied to the thread that
		// started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // its state says how it ended
		}
	}()
	g.must(<-started)
	return p
}

// runCommand shows a command and runs it.
func (g *guide) runCommand(args ...string) (code int, s said) {
	line := "coffee"
	for _, arg := range args {
		if strings.Contains(arg, " ") { // as one has to type it
			arg = "'" + arg + "'"
		}
		line += " " + arg
	}
	g.print(commandLine(line)...)
	ctx, cancel := context.WithTimeout(g.ctx, patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	p := g.launch(ctx, &stdout, &stderr, args...)
	defer p.stop()
	select {
	case <-p.done:
	case <-time.After(stillness):
		g.waiting("this command ends")
		<-p.done
	}
	g.must(g.ctx.Err())
	if ctx.Err() != nil {
		g.must(fmt.Errorf("coffee %s took longer than %v", args[0], patience))
	}
	return p.cmd.ProcessState.ExitCode(), said{g, stdout.String(), stderr.String()}
}

// commandLine returns a command to be copied, over several lines if it is long.
func commandLine(command string) []string {
	return strings.Split(strings.Join(text.Wrap("$ "+command, columns-6), " \\\n    "), "\n")
}

// newLog creates the file of a log.
func (g *guide) newLog() *os.File {
	log, err := os.Create(filepath.Join(g.dir, fmt.Sprintf("%d.log", len(g.others))))
	g.must(err)
	return log
}

// start runs a command in the background.
func (g *guide) start(args ...string) *process {
	log := g.newLog()
	defer log.Close() // the process has it open
	p := g.launch(g.ctx, log, log, args...)
	p.log = log.Name()
	g.others = append(g.others, p)
	return p
}

// workOn starts a worker of another release, in this process: the program itself has no
// such release. It returns when the worker polls.
func (g *guide) workOn(next release.Release, name string) *process {
	ledger, log := g.ledgerFile(), g.newLog()
	g.print("", "$ coffee worker &    # of the "+name+" release")
	p := &process{name: "worker", log: log.Name(), done: make(chan struct{})}
	ctx, stop := context.WithCancel(g.ctx)
	p.stop = stop
	g.others = append(g.others, p)
	go func() {
		defer close(p.done)
		defer log.Close()
		if err := g.Work(ctx, next, g.address, ledger, log); err != nil {
			fmt.Fprintln(log, err)
		}
	}()
	g.untilWorks(p)
	return p
}

// kill kills a process as kill -9 does, and says so.
func (g *guide) kill(p *process) {
	g.print("", fmt.Sprintf("$ kill -9 %d    # the %s", p.cmd.Process.Pid, p.name))
	p.end()
}

// ended ends the tour if a process has ended by itself.
func (g *guide) ended(p *process) bool {
	select {
	case <-p.done:
		g.must(fmt.Errorf("the %s ended by itself:\n%s", p.name, p.text()))
	default:
	}
	return false
}
