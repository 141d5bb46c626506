//go:build unix && !noserver

package main

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"example.com/coffee/coffee/audit"
	"example.com/coffee/lab/chaos"
)

// TestSimulatedDefects: of a program with a defect, a run in virtual time with all faults is
// found to be wrong within some seeds, by judges that are named and no others. Without a
// defect none is. Two of the defects are tried always, and the others if LAB_TEST_DEFECTS is
// set.
func TestSimulatedDefects(t *testing.T) {
	for _, test := range []struct {
		name   string
		judges []string
		seeds  uint64 // within which it is found
		always bool
	}{
		{"", nil, 3, true},
		{"lose-cancels", []string{cancels}, 1, true},
		{"overcharge", []string{rule(audit.RuleCharge), rule(audit.RuleNet)}, 1, true},
		{"no-refund", []string{rule(audit.RuleUndone), rule(audit.RuleHistory), rule(audit.RuleNet)}, 20, false},
		{"charge-runs", []string{rule(audit.RuleNet), rule(audit.RuleOwner), rule(audit.RuleHistory), rule(audit.RuleUndone), rule(audit.RuleRefund)}, 40, false},
		{"misbook-late", []string{rule(audit.RuleOwner)}, 40, false},
		{"ignore-errors", []string{rule(audit.RuleHistory), rule(audit.RuleNet)}, 40, false},
		{"trust-clocks", []string{rule(audit.RuleUndone), rule(audit.RuleHistory), rule(audit.RuleNet)}, 100, false},
		{"moody", []string{fits, rule(audit.RuleHistory)}, 3, false},
	} {
		if !test.always && os.Getenv("LAB_TEST_DEFECTS") == "" {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			options := chaos.Options{Orders: 40, Kills: 6, Faults: chaos.SimulatedFaults, Worker: workerDefects[test.name], Say: func(string) {}}
			if defect := clientDefects[test.name]; defect != nil {
				options.Client = []grpc.DialOption{grpc.WithChainUnaryInterceptor(defect)}
			}
			if test.always {
				options.Orders, options.Kills = 12, 4
			}
			var got []string
			seed := uint64(1)
			for ; seed <= test.seeds && len(got) == 0; seed++ {
				options.Seed = seed
				result, err := simulateOne(options)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				got = judges(result)
			}
			if len(got) == 0 && test.judges != nil || slices.ContainsFunc(got, func(judge string) bool { return !slices.Contains(test.judges, judge) }) {
				t.Errorf("with seeds up to %d it is seen by %q, want some of %q", seed-1, got, test.judges)
			}
			if len(got) > 0 {
				t.Logf("seed %d is seen by %q", options.Seed, got)
			}
			if len(got) > 0 && !test.always {
				again(t, options)
			}
		})
	}
}

// again tells how often a run that fails does so again, and how small it can be made.
func again(t *testing.T, options chaos.Options) {
	t.Helper()
	failed := 0
	for range 10 {
		result, err := simulateOne(options)
		if err != nil {
			t.Fatal(err)
		}
		if result.Breaches() > 0 {
			failed++
		}
	}
	used := processorTime()
	small, story, err := shrinkSimulated(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of 10 runs fail again; %.0f s of processor time to make it %d orders, faults %v\n%s",
		failed, (processorTime() - used).Seconds(), small.Orders, small.Only, strings.Join(story, "\n"))
}

// judges returns which judges have found something in a run.
func judges(run *chaos.Simulated) []string {
	found := map[string]bool{}
	for _, breach := range run.Audit.Breaches {
		found[rule(breach.Rule)] = true
	}
	for _, incident := range run.Incidents {
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
