//go:build unix && !noserver

package chaos

import (
	"testing"
)

// TestSimulate: orders in virtual time.
func TestSimulate(t *testing.T) {
	simulated := func(seed uint64, orders, kills int, faults ...string) *Simulated {
		t.Helper()
		s, err := Simulate(Options{Seed: seed, Orders: orders, Kills: kills, Faults: faults, Dir: t.TempDir(), Say: func(line string) { t.Log(line) }})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", s.Report)
		t.Logf("%+v", s.Audit)
		t.Log(s.Trace, s.Hits)
		return s
	}
	simulated(1, 10, 0)
	simulated(1, 10, 0)
}
