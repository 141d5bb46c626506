package commands

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/coffee/coffee/ledger"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/internal/release"
	"example.com/coffee/internal/scripttest"
	"example.com/coffee/internal/testmain"
)

// TestMain lets scripts run this test binary as the program coffee, and as coffee-broken and
// coffee-patched, which are coffee of another release of the workflow.
func TestMain(m *testing.M) {
	testmain.Parallel(4)
	lookups := testmain.RefuseLookups()
	mains := map[string]func(){"signals": waitForSignals}
	for program, name := range programs {
		run := func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
			var options app.Options
			if next := release.Named(name); next != nil {
				options.Release = next
			}
			return lookups.Check(Run(ctx, args, stdout, stderr, options))
		}
		mains[program] = func() {
			os.Exit(run(Signals(), append([]string{"coffee"}, os.Args[1:]...), os.Stdout, os.Stderr))
		}
		mains[program+"-shell"] = func() { serveShell(run) }
	}
	testscript.Main(checkLookups{m, lookups}, mains)
}

// checkLookups fails if a test in this process has asked a name server.
type checkLookups struct {
	m       *testing.M
	lookups *testmain.Lookups
}

func (c checkLookups) Run() int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300) // the servers of the tests share this process
	}
	return c.lookups.Check(c.m.Run())
}

// waitForSignals is a program that says when it is told to stop, and goes on until its
// input ends. Then it prints to readers that may have gone.
func waitForSignals() {
	ctx := Signals()
	a := app.New(os.Stdout, os.Stderr, app.Options{})
	a.Out.OutliveReaders()
	a.Out.Printf("ready\n")
	go func() {
		<-ctx.Done()
		a.Out.Printf("stopping\n")
	}()
	io.Copy(io.Discard, os.Stdin)
	a.Out.Printf("lost\n")
	a.Out.Notef("lost, too")
	if a.Out.Out.Err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// patience is how long a test waits for something that must happen.
const patience = scripttest.Patience

// TestScripts runs the scripts in testdata, which test the program as its users
// see it: its output and its exit codes.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_DATA_HOME", filepath.Join(env.WorkDir, "data"))
			env.Setenv("HOME", env.WorkDir)
			histories, err := filepath.Abs("../coffee/testdata/histories")
			if err != nil {
				return err
			}
			env.Setenv("HISTORIES", histories)
			databases, err := filepath.Abs("../devserver/testdata/old")
			if err != nil {
				return err
			}
			env.Setenv("DATABASES", databases)
			ports, err := freePorts(6)
			if err != nil {
				return err
			}
			env.Setenv("PORT", ports[0])
			env.Setenv("UIPORT", ports[1])
			env.Setenv("PORT3", ports[2])
			env.Setenv("PORT4", ports[3])
			env.Setenv("PORT5", ports[4])
			env.Setenv("NOPORT", ports[5]) // nothing listens there
			env.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:"+ports[0])
			setUpShells(env)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"run":        cmdRun,
			"code":       cmdCode,
			"eventually": cmdEventually,
			"ledger":     cmdLedger,
			"http":       cmdHTTP,
			"sql":        cmdSQL,
			"mode":       cmdMode,

			"certificates": cmdCertificates,
		},
	})
}

// freePorts returns ports that were free a moment ago, outside the range that
// the system uses for outgoing connections.
func freePorts(n int) ([]string, error) {
	var ports []string
	for len(ports) < n {
		port := 10_000 + os.Getpid()*37%8000 + int(nextPort.Add(1)) // each is given out once
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			if port > 32_000 {
				return nil, err
			}
			continue
		}
		listener.Close()
		ports = append(ports, strconv.Itoa(port))
	}
	return ports, nil
}

// cmdLedger checks an order's entries in the ledger in the data directory.
//
//	ledger 123 charge refund
func cmdLedger(ts *testscript.TestScript, neg bool, args []string) {
	files, err := filepath.Glob(ts.MkAbs("data/coffee/ledger-*.db"))
	ts.Check(err)
	if neg || len(args) < 1 || len(files) != 1 {
		ts.Fatalf("usage: ledger ORDER [KINDS...], with one ledger, not %v", files)
	}
	ledger, err := ledger.Open(context.Background(), files[0])
	ts.Check(err)
	defer ledger.Close()
	entries, err := ledger.Entries(context.Background(), args[0])
	ts.Check(err)
	var kinds []string
	for _, entry := range entries {
		kinds = append(kinds, string(entry.Kind))
	}
	if got, want := strings.Join(kinds, " "), strings.Join(args[1:], " "); got != want {
		ts.Fatalf("the ledger has %q of order %s, want %q", got, args[0], want)
	}
}

// concurrentBuffer is a buffer that can be read while a process writes to it.
type concurrentBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *concurrentBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *concurrentBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
