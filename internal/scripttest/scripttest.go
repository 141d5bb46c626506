// Package scripttest has the commands that the test scripts of this module's programs share.
package scripttest

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Patience is how long a script waits for something that must happen.
const Patience = time.Minute

// Code runs a program that must end with the exit code.
//
//	code 5 coffee order --drink mocha --order-id 123
func Code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code CODE PROGRAM [ARGS...]")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// Eventually runs a program until it succeeds and its output matches.
//
//	eventually 'brewing' coffee status 123
func Eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually REGEXP PROGRAM [ARGS...]")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	deadline := time.Now().Add(Patience)
	for {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%q did not come; last error: %v", args[0], err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
