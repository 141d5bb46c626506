//go:build unix && !noserver

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"example.com/coffee/coffee/audit"
	"example.com/coffee/internal/exit"
	"example.com/coffee/lab/chaos"
	"example.com/coffee/lab/powerfailure"
)

// recordBroken records what a process writes. With two of the defects the process does not
// sync.
func recordBroken(defect string) recording {
	return func(dir string) (syncLog, error) {
		switch {
		case defect == "no-sync" && slices.Contains(os.Args, "server"): // before it answers
			sync, err := record(dir)
			return func(f *os.File) error {
				if strings.HasSuffix(f.Name(), "-wal") {
					return nil
				}
				return sync(f)
			}, err
		case defect == "no-ledger-sync" && slices.Contains(os.Args, "worker"): // at all
			recorder, err := powerfailure.RecordWithoutSync(dir)
			return recorder.Sync, err
		}
		return record(dir)
	}
}

// The judges of a chaos run: the rules of the audit, and those who look from outside.
const (
	explained = "operations" // what clients were told can have been so
	cancels   = "cancels"    // cancels that were acknowledged are there
	getsOn    = "progress"   // a step is given up only if there is a reason
	settled   = "repairs"    // only what an operator stopped has to be settled
	ends      = "end"        // each order ends in time
	waits     = "waits"      // an order that cannot go on says so, and does not spin
	fits      = "code"       // a worker's code fits the histories
	works     = "work"       // each worker works
	exits     = "exit"       // no process ends by itself
	stops     = "stop"       // a process stops when it is asked to
	readable  = "databases"  // they can be read
	shown     = "page"       // the page of the board shows how things are
)

// incidents tells the judges of incidents by what they say.
var incidents = map[string]string{
	"cannot have been so": explained, "is not in its history": cancels, "as it should": getsOn, "had to be settled": settled, "has not ended": ends,
	"waits for its refund": waits, "did not fit": fits, "has done nothing": works, "ended by itself": exits, "did not stop": stops,
	"the board is wrong": shown,
}

// defect is something that is wrong with the program; see defect_test.go.
type defect struct {
	name   string
	judges []string // one of them sees it, and nobody else
	// within is how many runs in virtual time it takes at the most; 0 if only processes show it.
	within uint64
	// orders and kills are how large a run on processes has to be to see it, and seeds are what
	// is tried: it takes luck to hit the instant.
	orders, kills int
	seeds         []int
	// without are faults that do not show it, and never one that would keep the run from its
	// end: nothing is rolled out on a server that forgets.
	without, never string
}

var (
	charged, refunded, netted, undone = rule(audit.RuleCharge), rule(audit.RuleRefund), rule(audit.RuleNet), rule(audit.RuleUndone)
	closed, owned, recorded, arrives  = rule(audit.RuleClosed), rule(audit.RuleOwner), rule(audit.RuleHistory), rule(audit.RuleAcknowledged)
)

var defects = []defect{
	// Each rule of the audit, from 1 to 8.
	{name: "overcharge", judges: []string{charged, netted}, within: 3},
	{name: "keep-cent", judges: []string{charged, refunded, netted, undone}, within: 25},
	{name: "deaf", judges: []string{netted, recorded}, within: 3},
	{name: "no-refund", judges: []string{undone}, within: 6},
	{name: "charge-void", judges: []string{closed, netted, undone}, within: 25},
	{name: "unguarded", judges: []string{owned}, within: 25},
	{name: "charged-already", judges: []string{getsOn, recorded}, within: 12, without: "network"},
	{name: "impatient", judges: []string{explained, arrives}, within: 60, without: "freeze,clock"},
	// What holds of the ledger: a call can be repeated, the order is the key, the ledger decides
	// and not the history, a refund is due before the charge, any error but a refusal is tried
	// again, and time plays no part.
	{name: "forgetful", judges: []string{getsOn}, within: 3},
	{name: "charge-runs", judges: []string{netted, owned, recorded}, within: 6, without: "kill,network"},
	{name: "no-delivery", judges: []string{netted, recorded}, within: 3},
	{name: "write-behind", judges: []string{getsOn, recorded}, within: 3},
	{name: "no-void", judges: []string{undone}, within: 9},
	{name: "final-errors", judges: []string{getsOn}, within: 6},
	{name: "trust-clocks", judges: []string{netted, undone, recorded}, within: 12, without: "kill,freeze,network,operator"},
	// What orders get on by: attempts, jams, the ledger, receipts, and no help from operators.
	{name: "one-try", judges: []string{getsOn}, within: 3},
	{name: "no-jam", judges: []string{getsOn}, within: 3},
	{name: "refuse-all", judges: []string{getsOn}, within: 3},
	{name: "unlucky", judges: []string{getsOn}, within: 9},
	{name: "no-receipt", judges: []string{getsOn}, within: 6},
	{name: "tidy", judges: []string{explained, settled, netted}, orders: 20, kills: 2, seeds: []int{3, 4, 5}},
	{name: "stuck", judges: []string{ends, recorded, arrives}, within: 3},
	// What else the faults show.
	{name: "misbook-late", judges: []string{getsOn, owned}, within: 9, without: "kill,storage,clock,operator"},
	{name: "ignore-errors", judges: []string{getsOn, netted, recorded}, within: 9, without: "kill,network,clock,operator"},
	{name: "no-sync", judges: []string{getsOn, explained, cancels, ends, works, exits, readable, undone, owned, arrives}, orders: 40, kills: 20, seeds: []int{3, 4, 5}, never: "upgrade"},
	{name: "no-ledger-sync", judges: []string{getsOn, readable, netted, undone, recorded}, orders: 40, kills: 8, seeds: []int{3, 4, 5}},
	{name: "give-up", judges: []string{undone}, within: 24, without: "kill,network,clock"},
	{name: "unpatched", judges: []string{recorded, fits}, orders: 100, kills: 5, seeds: []int{3, 4, 5}, without: "kill,network"},
	// What else the judges see.
	{name: "remember", judges: []string{explained}, within: 3},
	{name: "join-anything", judges: []string{explained}, within: 3},
	{name: "refuse-cancels", judges: []string{explained}, within: 3},
	{name: "lose-cancels", judges: []string{cancels}, within: 3},
	{name: "spin", judges: []string{waits}, within: 9},
	{name: "say-nothing", judges: []string{waits}, within: 9},
	{name: "moody", judges: []string{fits}, within: 3},
	{name: "other-code", judges: []string{recorded}, orders: 20, kills: 2, seeds: []int{3, 4, 5}},
	{name: "idle", judges: []string{works, ends, arrives}, orders: 100, kills: 5, seeds: []int{3, 4, 5}},
	{name: "crash", judges: []string{exits, getsOn}, orders: 60, kills: 2, seeds: []int{3, 4, 5}},
	{name: "no-stop", judges: []string{stops}, orders: 20, kills: 2, seeds: []int{3, 4, 5}},
	{name: "stale", judges: []string{shown}, orders: 40, kills: 8, seeds: []int{3, 4, 5}},
}

// TestDefects: a program with a defect that only processes show is found out by a run with
// the default faults, by judges that are named and no others, in one of three runs at the
// most. Without the faults that it takes, it is not.
//
// Each run takes half a minute or more: they are made if LAB_TEST_DEFECTS is set. For every
// day there is the one in testdata/shrink.txt.
func TestDefects(t *testing.T) {
	t.Parallel()
	if os.Getenv("LAB_TEST_DEFECTS") == "" {
		t.Skip("LAB_TEST_DEFECTS is not set")
	}
	for _, defect := range defects {
		if defect.seeds == nil {
			continue
		}
		t.Run(defect.name, func(t *testing.T) {
			t.Parallel()
			faults := strings.Join(slices.DeleteFunc(slices.Clone(chaos.Faults), func(name string) bool { return name == defect.never }), ",")
			var got []string
			for i := 0; i < len(defect.seeds) && len(got) == 0; i++ {
				got = judge(t, defect.name, faults, defect.orders, defect.kills, defect.seeds[i])
			}
			defect.check(t, got)
			if defect.without == "" {
				return
			}
			if got := judge(t, defect.name, defect.without, 30, 8, defect.seeds[0]); len(got) != 0 {
				t.Errorf("with %s it is seen by %q", defect.without, got)
			}
		})
	}
}

// check fails if none of the judges has found the defect, or another one has found something.
func (d defect) check(t *testing.T, got []string) {
	t.Helper()
	if len(got) == 0 || slices.ContainsFunc(got, func(judge string) bool { return !slices.Contains(d.judges, judge) }) {
		t.Errorf("it is seen by %q, want some of %q", got, d.judges)
	}
}

// TestSimulatedDefects: a program with one of the other defects is found out by runs in
// virtual time with all their faults. Without the faults that it takes, it is not. The
// program without a defect never is.
//
// Two of them are tried if LAB_TEST_DEFECTS is not set.
func TestSimulatedDefects(t *testing.T) {
	all := os.Getenv("LAB_TEST_DEFECTS") != ""
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	for _, defect := range append([]defect{{name: "none", within: 3}}, defects...) {
		if defect.within == 0 || !all && !slices.Contains([]string{"none", "lose-cancels", "overcharge"}, defect.name) {
			continue
		}
		t.Run(defect.name, func(t *testing.T) {
			options := chaos.Options{Orders: 40, Kills: 6, Faults: chaos.SimulatedFaults, Worker: workerDefects[defect.name], Say: func(string) {}}
			if broken := clientDefects[defect.name]; broken != nil {
				options.Client = []grpc.DialOption{grpc.WithChainUnaryInterceptor(broken)}
			}
			got, runs := simulated(t, options, defect.within)
			if defect.name == "none" {
				if len(got) > 0 {
					t.Errorf("a sound program is found out by %q", got)
				}
				return
			}
			t.Logf("found in run %d", runs)
			defect.check(t, got)
			if defect.without == "" || !all {
				return
			}
			options.Faults = strings.Split(defect.without, ",")
			if got, _ := simulated(t, options, runs); len(got) > 0 {
				t.Errorf("with %s it is seen by %q", defect.without, got)
			}
		})
	}
}

// simulated makes runs of the seeds from 1 on, and returns which judges found something in
// the first that failed, and how many runs that took.
func simulated(t *testing.T, options chaos.Options, most uint64) (got []string, runs uint64) {
	t.Helper()
	for runs < most && len(got) == 0 {
		runs++
		options.Seed, options.Dir = runs, t.TempDir()
		t.Setenv("COFFEE_LEDGER", filepath.Join(options.Dir, "ledger.db"))
		result, err := chaos.Simulate(options)
		if err != nil {
			t.Fatalf("seed %d: %v", runs, err)
		}
		if got = judgesOf(result.Report); len(got) > 0 {
			t.Logf("seed %d\n%s", runs, strings.Join(result.Story, "\n"))
		}
	}
	return got, runs
}

func rule(r audit.Rule) string { return fmt.Sprint("rule ", int(r)) }

// judge runs chaos with a defect, and returns which judges found something.
func judge(t *testing.T, defect, faults string, orders, kills, seed int) []string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable)
	cmd.Args = []string{"lab", "chaos", "--orders", fmt.Sprint(orders), "--kills", fmt.Sprint(kills), "--seed", fmt.Sprint(seed),
		"--faults", faults, "--dir", dir, "-o", "json"}
	if defect == "no-sync" { // or it would take minutes until that is certain
		cmd.Args = append(cmd.Args, "--patience", "20s")
	}
	cmd.Env = append(os.Environ(), defectVariable+"="+defect)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch code := cmd.ProcessState.ExitCode(); {
	case code == exit.Failure && (strings.Contains(stderr.String(), "cannot be read after a power failure") ||
		strings.Contains(stderr.String(), "this is not the ledger of these orders")): // the server has forgotten whose it is
		return []string{readable} // there is nothing to judge
	case code != 0 && code != exit.Breach:
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
	}
	var report chaos.Report
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\n%s%s", cmd, stderr.String(), out)
	return judgesOf(&report)
}

// judgesOf returns which judges have found something in a run.
func judgesOf(report *chaos.Report) []string {
	found := map[string]bool{}
	for _, breach := range report.Audit.Breaches {
		found[rule(breach.Rule)] = true
	}
	for _, incident := range report.Incidents {
		judge := incident // one that nobody expects
		for words, name := range incidents {
			if strings.Contains(incident, words) {
				judge = name
			}
		}
		found[judge] = true
	}
	return slices.Sorted(maps.Keys(found))
}
