//go:build unix

package commands

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// signalled is [waitForSignals] in a process of its own.
type signalled struct {
	*exec.Cmd
	in    io.Closer
	pipe  io.Closer
	lines *bufio.Reader
}

func startSignalled(t *testing.T) *signalled {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &signalled{Cmd: exec.Command(executable)}
	s.Args = []string{"signals"}
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in, s.pipe, s.lines = in, out, bufio.NewReader(out)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Process.Kill(); s.Wait() })
	s.want(t, "ready")
	return s
}

func (s *signalled) want(t *testing.T, want string) {
	t.Helper()
	if line, err := s.lines.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
		t.Fatalf("it says %q, %v, want %q", line, err, want)
	}
}

func (s *signalled) send(t *testing.T, signals ...syscall.Signal) {
	t.Helper()
	for _, signal := range signals {
		if err := s.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSignals: each signal that stops a process lets it stop cleanly, and two at once are
// one.
func TestSignals(t *testing.T) {
	t.Parallel()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // or children ignore it, too, under nohup
	for _, signals := range [][]syscall.Signal{
		{syscall.SIGINT}, {syscall.SIGTERM}, {syscall.SIGHUP}, {syscall.SIGTERM, syscall.SIGINT}, {syscall.SIGHUP, syscall.SIGTERM},
	} {
		s := startSignalled(t)
		s.send(t, signals...)
		s.want(t, "stopping")
		if err := errors.Join(s.in.Close(), s.Wait()); err != nil {
			t.Errorf("%v: %v", signals, err)
		}
	}
}

// TestSecondSignal: a signal that comes some time after the first ends the process.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	s := startSignalled(t)
	s.send(t, syscall.SIGTERM)
	s.want(t, "stopping")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Wait()
	}()
	for deadline := time.Now().Add(patience); ; {
		s.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
			if status := s.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
				t.Errorf("it ended with %v", s.ProcessState)
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("it goes on")
		}
	}
}

// TestHangupIgnored: a process whose starter ignores SIGHUP, as nohup does, goes on.
func TestHangupIgnored(t *testing.T) {
	t.Parallel()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The shell ignores it, and tells itself by a signal that does not stop.
	script := exec.Command("sh", "-c", `trap "" HUP; exec -a signals "$0"`, executable)
	script.Args[0] = "bash"
	if script.Path, err = exec.LookPath("bash"); err != nil {
		t.Skip("there is no bash")
	}
	in, err := script.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := script.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	s := &signalled{Cmd: script, in: in, lines: bufio.NewReader(out)}
	s.want(t, "ready")
	s.send(t, syscall.SIGHUP)
	s.in.Close()
	s.want(t, "lost")
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
}

// TestReadersGone: a command that runs on loses what it prints when its readers have gone,
// and ends as if it had been read.
func TestReadersGone(t *testing.T) {
	t.Parallel()
	s := startSignalled(t)
	if err := errors.Join(s.pipe.Close(), s.in.Close(), s.Wait()); err != nil {
		t.Error(err)
	}
}

// TestWorkerOutlivesItsLog: a worker whose log nobody reads stops cleanly.
func TestWorkerOutlivesItsLog(t *testing.T) {
	t.Parallel()
	worker := coffeeCommand(t, "worker", "--dev")
	worker.Stderr = nil
	log, err := worker.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { worker.Process.Kill() })
	lines := bufio.NewScanner(log)
	for lines.Scan() && !strings.Contains(lines.Text(), "worker started") {
		t.Log(lines.Text())
	}
	if err := errors.Join(log.Close(), worker.Process.Signal(syscall.SIGTERM), worker.Wait()); err != nil {
		t.Error(err)
	}
}
