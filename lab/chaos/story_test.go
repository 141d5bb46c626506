//go:build unix && !noserver

package chaos

import (
	"testing"

	"example.com/coffee/coffee"
)

// TestMissing: a step under way that has met each fault but one is missing with that one.
func TestMissing(t *testing.T) {
	t.Parallel()
	sum := Sum{Pairs: map[Pair]int{}}
	for _, fault := range []string{"kill server", "kill client", "kill worker", "freeze", "network", "storage", "clock", "operator", "forever"} {
		for _, step := range []string{"accepted", "charge_customer under way", "brew_coffee under way", "send_receipt under way", "refund_customer under way", "recall_order under way"} {
			sum.Pairs[Pair{step, fault}] = 1
		}
	}
	if missing := sum.Missing(); len(missing) != 0 {
		t.Errorf("missing %v of all", missing)
	}
	lost := Pair{coffee.ActivityRefundCustomer + " under way", "clock"}
	delete(sum.Pairs, lost)
	if missing := sum.Missing(); len(missing) != 1 || missing[0] != lost {
		t.Errorf("missing %v, want %v", missing, lost)
	}
}
