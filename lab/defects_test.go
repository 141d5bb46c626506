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
	"cannot have been so": explained, "is not in its history": cancels, "has not ended": ends, "waits for its refund": waits,
	"did not fit": fits, "has done nothing": works, "ended by itself": exits, "did not stop": stops,
	"the board is wrong": shown,
}

// defect is something that is wrong with the program; see defect_test.go.
type defect struct {
	name string
	// faults are what it takes to see it, with so many orders and kills.
	faults        string
	orders, kills int
	seed          int
	judges        []string // one of them sees it, and nobody else
	// without are faults that do not show it.
	without string
	always  bool
}

var defects = []defect{
	{"charged-already", "kill", 60, 30, 3, []string{rule(audit.RuleHistory)}, "network", false},
	{"misbook-late", "freeze", 60, 24, 3, []string{rule(audit.RuleOwner)}, "kill,storage,clock,power,operator", false},
	{"impatient", "network", 90, 16, 18, []string{explained, rule(audit.RuleAcknowledged)}, "freeze,clock", false},
	{"stale", "network", 60, 12, 3, []string{shown}, "", false},
	{"ignore-errors", "storage", 90, 30, 3, []string{rule(audit.RuleHistory)}, "kill,network,clock,operator", false},
	{"trust-clocks", "clock", 150, 48, 3, []string{rule(audit.RuleUndone), rule(audit.RuleHistory)}, "kill,freeze,network,operator", false},
	{"no-sync", "power", 60, 30, 3, []string{explained, cancels, ends, works, exits, readable, rule(audit.RuleUndone), rule(audit.RuleOwner), rule(audit.RuleAcknowledged)}, "", false},
	{"no-ledger-sync", "power", 60, 30, 3, []string{readable, rule(audit.RuleNet), rule(audit.RuleUndone), rule(audit.RuleHistory)}, "", false},
	{"charge-runs", "operator", 60, 30, 3, []string{rule(audit.RuleNet), rule(audit.RuleOwner), rule(audit.RuleHistory)}, "kill,network,power", false},
	{"give-up", "forever", 60, 4, 18, []string{rule(audit.RuleUndone)}, "kill,network,clock", false},
	{"spin", "forever", 60, 4, 18, []string{waits}, "kill,network", false},
	{"say-nothing", "forever", 60, 4, 18, []string{waits}, "kill,network", false},
	{"unpatched", "upgrade", 150, 4, 3, []string{rule(audit.RuleHistory)}, "kill,network", false},
	{"moody", "kill", 60, 20, 3, []string{fits}, "", false},
	{"remember", "", 40, 0, 3, []string{explained}, "", false},
	{"join-anything", "", 60, 0, 3, []string{explained}, "", false},
	{"refuse-cancels", "", 60, 0, 3, []string{explained}, "", false},
	{"lose-cancels", "", 10, 0, 7, []string{cancels}, "", true},
	{"stuck", "", 20, 0, 3, []string{ends, rule(audit.RuleHistory), rule(audit.RuleAcknowledged)}, "", false},
	{"idle", "", 40, 0, 3, []string{works}, "", false},
	{"crash", "", 40, 0, 3, []string{exits}, "", false},
	{"no-stop", "", 20, 0, 3, []string{stops}, "", false},
	{"overcharge", "", 20, 0, 3, []string{rule(audit.RuleCharge), rule(audit.RuleNet)}, "", false},
	{"no-refund", "", 40, 0, 3, []string{rule(audit.RuleUndone)}, "", false},
	{"other-code", "", 20, 0, 3, []string{rule(audit.RuleHistory)}, "", false},
}

// TestDefects proves that each fault of a chaos run shows something, and that each judge
// sees something: a program with a defect is found out, by judges that are named and no
// others, in one of three runs at the most. Without the fault it is not.
//
// Each run takes half a minute or a whole one. One defect is tried always, and all of
// them, with and without the fault, if LAB_TEST_DEFECTS is set.
func TestDefects(t *testing.T) {
	all := os.Getenv("LAB_TEST_DEFECTS") != ""
	for _, defect := range defects {
		if !defect.always && !all {
			continue
		}
		t.Run(defect.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for i := 0; i < 3 && len(got) == 0; i++ { // it takes luck to hit the instant
				seed := defect.seed + i
				if defect.faults == "forever" { // the seed says what is lost
					seed = defect.seed
				}
				got = judge(t, defect.name, defect.faults, defect.orders, defect.kills, seed)
			}
			if len(got) == 0 || slices.ContainsFunc(got, func(judge string) bool { return !slices.Contains(defect.judges, judge) }) {
				t.Errorf("with %s it is seen by %q, want some of %q", defect.faults, got, defect.judges)
			}
			if defect.without == "" || !all {
				return
			}
			if got := judge(t, defect.name, defect.without, 40, 12, defect.seed); len(got) != 0 {
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
		"--faults", cmp.Or(faults, "none"), "--dir", dir, "-o", "json"}
	if defect == "stuck" || defect == "no-sync" { // or it would take minutes until that is certain
		cmd.Args = append(cmd.Args, "--patience", "40s")
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
