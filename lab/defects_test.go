//go:build unix && !noserver

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
	name string
	// orders and kills are how large a run has to be to see it, and
	// seeds are what is tried: it takes luck to hit the instant.
	orders, kills int
	seeds         []int
	judges        []string // one of them sees it, and nobody else
	// without are faults that do not show it.
	without string
	// faults, unless empty, are those of the run in place of the default ones, of which a run
	// has too few of each kind to show it for certain.
	faults string
}

var (
	charged, refunded, netted, undone = rule(audit.RuleCharge), rule(audit.RuleRefund), rule(audit.RuleNet), rule(audit.RuleUndone)
	closed, owned, recorded, arrives  = rule(audit.RuleClosed), rule(audit.RuleOwner), rule(audit.RuleHistory), rule(audit.RuleAcknowledged)
)

var defects = []defect{
	// Each rule of the audit, from 1 to 8.
	{"overcharge", 20, 2, []int{3, 4, 5}, []string{charged, netted}, "", ""},
	{"keep-cent", 40, 2, []int{3, 4, 5}, []string{charged, refunded, netted, undone}, "", ""},
	{"deaf", 40, 2, []int{3, 4, 5}, []string{netted, recorded}, "", ""},
	{"no-refund", 40, 2, []int{3, 4, 5}, []string{undone}, "", ""},
	{"charge-void", 40, 2, []int{4, 5, 6}, []string{closed, netted, undone}, "", ""},
	{"unguarded", 20, 2, []int{3, 4, 5}, []string{owned}, "", ""},
	{"charged-already", 40, 8, []int{3, 4, 5}, []string{getsOn, recorded}, "network", ""},
	{"impatient", 40, 8, []int{3, 4, 5}, []string{explained, arrives}, "freeze,clock", ""},
	// What holds of the ledger: a call can be repeated, the order is the key, the ledger decides
	// and not the history, a refund is due before the charge, any error but a refusal is tried
	// again, and time plays no part.
	{"forgetful", 60, 2, []int{87, 115, 29}, []string{getsOn}, "", ""},
	{"charge-runs", 60, 30, []int{3, 4, 5}, []string{netted, owned, recorded}, "kill,network,power", "operator"},
	{"no-delivery", 20, 2, []int{3, 4, 5}, []string{netted, recorded}, "", ""},
	{"write-behind", 20, 2, []int{3, 4, 5}, []string{getsOn, recorded}, "", ""},
	{"no-void", 60, 2, []int{3, 4, 5}, []string{undone}, "", ""},
	{"final-errors", 60, 18, []int{87, 88, 89}, []string{getsOn}, "", "storage"},
	{"trust-clocks", 150, 48, []int{4, 3, 5}, []string{netted, undone, recorded}, "kill,freeze,network,operator", "clock"},
	// What orders get on by: attempts, jams, the ledger, receipts, and no help from operators.
	{"one-try", 20, 2, []int{3, 4, 5}, []string{getsOn}, "", ""},
	{"no-jam", 20, 2, []int{3, 4, 5}, []string{getsOn}, "", ""},
	{"refuse-all", 20, 2, []int{3, 4, 5}, []string{getsOn}, "", ""},
	{"unlucky", 20, 2, []int{3, 4, 5}, []string{getsOn}, "", ""},
	{"no-receipt", 20, 2, []int{3, 4, 5}, []string{getsOn}, "", ""},
	{"tidy", 20, 2, []int{3, 4, 5}, []string{explained, settled, netted}, "", ""},
	{"stuck", 20, 2, []int{3, 4, 5}, []string{ends, recorded, arrives}, "", ""},
	// What else the faults show.
	{"misbook-late", 60, 4, []int{38, 42, 4}, []string{getsOn, owned}, "kill,storage,clock,power,operator", ""},
	{"ignore-errors", 90, 30, []int{4, 3, 5}, []string{getsOn, netted, recorded}, "kill,network,clock,operator", "storage"},
	{"no-sync", 40, 20, []int{3, 4, 5}, []string{getsOn, explained, cancels, ends, works, exits, readable, undone, owned, arrives}, "", ""},
	{"no-ledger-sync", 40, 8, []int{3, 4, 5}, []string{getsOn, readable, netted, undone, recorded}, "", ""},
	{"give-up", 40, 4, []int{19, 20, 21}, []string{undone}, "kill,network,clock", ""},
	{"unpatched", 100, 5, []int{3, 4, 5}, []string{recorded, fits}, "kill,network", ""},
	// What else the judges see.
	{"remember", 40, 2, []int{3, 4, 5}, []string{explained}, "", ""},
	{"join-anything", 40, 2, []int{3, 4, 5}, []string{explained}, "", ""},
	{"refuse-cancels", 40, 2, []int{3, 4, 5}, []string{explained}, "", ""},
	{"lose-cancels", 10, 2, []int{7, 8, 9}, []string{cancels}, "", ""},
	{"spin", 40, 4, []int{19, 20, 21}, []string{waits}, "", ""},
	{"say-nothing", 40, 4, []int{19, 20, 21}, []string{waits}, "", ""},
	{"moody", 40, 8, []int{3, 4, 5}, []string{fits}, "", ""},
	{"other-code", 20, 2, []int{3, 4, 5}, []string{recorded}, "", ""},
	{"idle", 100, 5, []int{3, 4, 5}, []string{works}, "", ""},
	{"crash", 20, 2, []int{3, 4, 5}, []string{exits}, "", ""},
	{"no-stop", 20, 2, []int{3, 4, 5}, []string{stops}, "", ""},
	{"stale", 40, 8, []int{3, 4, 5}, []string{shown}, "", ""},
}

// TestDefects proves that each fault of a chaos run shows something, and that each judge
// sees something: a program with a defect is found out, mostly with the default faults, by
// judges that are named and no others, in one of three runs at the most. Without the faults that
// it takes, it is not.
//
// Each run takes half a minute or more. All defects are tried if LAB_TEST_DEFECTS is set,
// and otherwise one, without faults.
func TestDefects(t *testing.T) {
	all := os.Getenv("LAB_TEST_DEFECTS") != ""
	for _, defect := range defects {
		if !all && defect.name != "lose-cancels" {
			continue
		}
		t.Run(defect.name, func(t *testing.T) {
			t.Parallel()
			faults := cmp.Or(defect.faults, strings.Join(chaos.Faults, ","))
			if !all {
				faults = "none"
			}
			var got []string
			for i := 0; i < len(defect.seeds) && len(got) == 0; i++ {
				got = judge(t, defect.name, faults, defect.orders, defect.kills, defect.seeds[i])
			}
			if len(got) == 0 || slices.ContainsFunc(got, func(judge string) bool { return !slices.Contains(defect.judges, judge) }) {
				t.Errorf("it is seen by %q, want some of %q", got, defect.judges)
			}
			if defect.without == "" || !all {
				return
			}
			if got := judge(t, defect.name, defect.without, 30, 8, defect.seeds[0]); len(got) != 0 {
				t.Errorf("with %s it is seen by %q", defect.without, got)
			}
		})
	}
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
	if defect == "stuck" || defect == "no-sync" { // or it would take minutes until that is certain
		cmd.Args = append(cmd.Args, "--patience", "20s")
	}
	cmd.Env = append(os.Environ(), defectVariable+"="+defect)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch code := cmd.ProcessState.ExitCode(); {
	case code == exit.Failure && strings.Contains(stderr.String(), "cannot be read after a power failure"):
		return []string{readable} // there is nothing to judge
	case code != 0 && code != exit.Breach:
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
	}
	var report chaos.Report
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatal(err)
	}
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
	t.Logf("%s\n%s%s", cmd, stderr.String(), out)
	return slices.Sorted(maps.Keys(found))
}
