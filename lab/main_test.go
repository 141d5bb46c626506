//go:build unix && !noserver

package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/coffee/commands"
	"example.com/coffee/internal/scripttest"
	"example.com/coffee/internal/testmain"
)

// defectVariable names the environment variable that gives this test binary a defect that
// a run has to find; see TestDefects. The program itself does not read it.
const defectVariable = "LAB_TEST_DEFECT"

// TestMain lets this test binary be the programs lab and coffee. A process that asks a
// name server ends with an exit code that no run takes for a good one: server, worker and
// clients on this machine tell nobody that they are there.
func TestMain(m *testing.M) {
	program := func() {
		lookups := testmain.RefuseLookups()
		defect := os.Getenv(defectVariable)
		os.Exit(lookups.Check(run(commands.Signals(), os.Args, recordBroken(defect), func(o *commands.Options) { breakProgram(o, defect) })))
	}
	testscript.Main(m, map[string]func(){"lab": program, "coffee": program})
}

// TestScripts runs the scripts in testdata.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_DATA_HOME", filepath.Join(env.WorkDir, "data"))
			env.Setenv("HOME", env.WorkDir)
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			_, port, err := net.SplitHostPort(listener.Addr().String())
			env.Setenv("PORT", port)
			env.Setenv("NOPORT", "1") // nothing listens there
			env.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:"+port)
			return errors.Join(err, listener.Close())
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": scripttest.Code, "eventually": scripttest.Eventually},
	})
}
