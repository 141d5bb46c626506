package commands

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/coffee/internal/release"
)

// A coffeeShell runs commands of the program one after the other in a process of its own: to
// start a process for each of them costs a fifth of a second of processor time. What is
// about the process itself, as signals and standard input are, is tested without a shell.
type coffeeShell struct {
	cmd *exec.Cmd
	out *gob.Encoder
	in  *gob.Decoder
}

type (
	shellRequest struct {
		Args, Env []string // Env is NAME=VALUE
		Dir       string
	}
	shellAnswer struct {
		Stdout, Stderr string
		Code           int
	}
)

// openCoffeeShell starts a shell that runs one of the [programs].
func openCoffeeShell(program string) (*coffeeShell, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(executable)
	cmd.Args, cmd.Stderr = []string{program + "-shell"}, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &coffeeShell{cmd, gob.NewEncoder(in), gob.NewDecoder(out)}, cmd.Start()
}

func (s *coffeeShell) close() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed
}

// run runs a command. It fails if that crashes, or does not end for minutes.
func (s *coffeeShell) run(r shellRequest) (answer shellAnswer, err error) {
	defer time.AfterFunc(5*patience, func() { _ = s.cmd.Process.Kill() }).Stop()
	if err := errors.Join(s.out.Encode(r), s.in.Decode(&answer)); err != nil {
		return answer, fmt.Errorf("%q crashed or has not ended: %w", r.Args, err)
	}
	return answer, nil
}

// programs are the names by which scripts run the program: of this release of the
// workflow and of others.
var programs = map[string]string{"coffee": "", "coffee-broken": release.Broken, "coffee-patched": release.Patched}

// serveShell answers requests on standard input until it is closed.
func serveShell(run func(ctx context.Context, args []string, stdout, stderr io.Writer) int) {
	in := gob.NewDecoder(os.Stdin)
	os.Stdin, _ = os.Open(os.DevNull)
	requests := make(chan shellRequest)
	go func() {
		for {
			var r shellRequest
			if err := in.Decode(&r); err != nil {
				os.Exit(0) // the script is over, whatever is still running here
			}
			requests <- r
		}
	}()
	answers := gob.NewEncoder(os.Stdout)
	for r := range requests {
		os.Clearenv()
		for _, v := range r.Env {
			name, value, _ := strings.Cut(v, "=")
			os.Setenv(name, value)
		}
		if err := os.Chdir(r.Dir); err != nil {
			panic(err)
		}
		var stdout, stderr concurrentBuffer
		code := run(context.Background(), append([]string{"coffee"}, r.Args...), &stdout, &stderr)
		if err := answers.Encode(shellAnswer{stdout.String(), stderr.String(), code}); err != nil {
			panic(err)
		}
	}
}

// shells are those of one script, by the program that they run.
type shells struct {
	variables []string // the names of those in the script's environment
	open      map[string]*coffeeShell
}

type shellsKey struct{}

// scriptVariable is a variable that a script sets.
var scriptVariable = regexp.MustCompile(`(?m)^env ([A-Z_]+)=`)

// setUpShells makes room for the shells of a script.
func setUpShells(env *testscript.Env) {
	s := &shells{open: map[string]*coffeeShell{}}
	for _, v := range env.Vars {
		name, _, _ := strings.Cut(v, "=")
		s.variables = append(s.variables, name)
	}
	env.Values[shellsKey{}] = s
}

// shellFor returns the script's shell for a program. It ends with the script.
func shellFor(ts *testscript.TestScript, program string) *coffeeShell {
	all := ts.Value(shellsKey{}).(*shells)
	if len(all.open) == 0 {
		script, err := os.ReadFile(filepath.Join("testdata", ts.Name()+".txt"))
		ts.Check(err)
		for _, match := range scriptVariable.FindAllStringSubmatch(string(script), -1) {
			all.variables = append(all.variables, match[1])
		}
	}
	if all.open[program] == nil {
		s, err := openCoffeeShell(program)
		ts.Check(err)
		ts.Defer(s.close)
		all.open[program] = s
	}
	return all.open[program]
}

// execute runs a program to its end: in a shell if it is coffee.
func execute(ts *testscript.TestScript, program string, args ...string) shellAnswer {
	if _, ok := programs[program]; !ok {
		code := 0
		if err := ts.Exec(program, args...); err != nil {
			exit, ok := err.(*exec.ExitError)
			if !ok {
				ts.Fatalf("%v", err)
			}
			code = exit.ExitCode()
		}
		return shellAnswer{ts.ReadFile("stdout"), ts.ReadFile("stderr"), code}
	}
	shell, r := shellFor(ts, program), shellRequest{Args: args, Dir: ts.MkAbs(".")}
	for _, name := range ts.Value(shellsKey{}).(*shells).variables {
		r.Env = append(r.Env, name+"="+ts.Getenv(name))
	}
	answer, err := shell.run(r)
	ts.Check(err)
	return answer
}

// show leaves the output to the commands of the script that look at it.
func (a shellAnswer) show(ts *testscript.TestScript) {
	_, err := io.WriteString(ts.Stdout(), a.Stdout)
	ts.Check(err)
	_, err = io.WriteString(ts.Stderr(), a.Stderr)
	ts.Check(err)
}

// cmdRun runs a command of coffee that must end with exit code 0.
//
//	run coffee status
func cmdRun(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: run PROGRAM [ARGS...]")
	}
	cmdCode(ts, false, append([]string{"0"}, args...))
}

// cmdCode runs a program that must end with the exit code.
//
//	code 5 coffee order --drink mocha --order-id 123
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code CODE PROGRAM [ARGS...]")
	}
	answer := execute(ts, args[1], args[2:]...)
	answer.show(ts)
	if got := fmt.Sprint(answer.Code); got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// cmdEventually runs a program until it succeeds and its output matches.
//
//	eventually 'brewing' coffee status 123
func cmdEventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually REGEXP PROGRAM [ARGS...]")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	deadline := time.Now().Add(patience)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 320*time.Millisecond) {
		answer := execute(ts, args[1], args[2:]...)
		if answer.Code == 0 && want.MatchString(answer.Stdout) {
			answer.show(ts)
			return
		}
		if time.Now().After(deadline) {
			answer.show(ts)
			ts.Fatalf("%q did not come; the last exit code is %d", args[0], answer.Code)
		}
		time.Sleep(pause)
	}
}
