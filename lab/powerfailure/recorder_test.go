//go:build unix

package powerfailure

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSync: what a program syncs by itself is recorded, unless it should not sync.
func TestSync(t *testing.T) {
	t.Parallel()
	for _, withoutSync := range []bool{false, true} {
		p := newPast(t, "old")
		p.write(10, 20, "new", 0)
		file, err := os.Open(p.path)
		p.must(err)
		defer file.Close()
		p.recorder.withoutSync = withoutSync
		p.must(p.recorder.Sync(file))
		if withoutSync {
			p.expect(Now(), "old", "new")
		} else {
			p.expect(Now(), "new")
		}
	}
}

// TestSyncFails: a sync that fails is not recorded.
func TestSyncFails(t *testing.T) {
	t.Parallel()
	p := newPast(t, "old")
	p.write(10, 20, "new", 0)
	file, err := os.Open(p.path)
	p.must(err)
	p.must(file.Close())
	if err := p.recorder.Sync(file); err == nil {
		t.Error("there is no error")
	}
	p.expect(Now(), "old", "new")
}

// TestCannotRecord: SQLite fails when its writes cannot be recorded.
func TestCannotRecord(t *testing.T) {
	t.Parallel()
	x := newTorture(t, program{Journal: "wal", Synchronous: "FULL", First: 1, Checkpoint: 1000, CannotRecord: true})
	output, err := x.command().CombinedOutput()
	if err != nil || string(output) != "1\nit fails\n" {
		t.Errorf("%v: %s", err, output)
	}
}

// TestClosed: a log or journal that was deleted in the end is not missed, whenever the
// power fails.
func TestClosed(t *testing.T) {
	t.Parallel()
	for _, journal := range []string{"wal", "delete"} {
		t.Run(journal, func(t *testing.T) {
			t.Parallel()
			x := newTorture(t, program{Journal: journal, Synchronous: "FULL", First: 1, Checkpoint: 1000, Limit: -1, Transactions: 3})
			x.begin = Now()
			output, err := x.command().CombinedOutput()
			if err != nil || strings.Count(string(output), "\n") != 3 {
				t.Fatalf("%v: %s", err, output)
			}
			end := Now()
			for n := 1; n <= 3; n++ {
				x.transactions[n] = end
			}
			if files, err := filepath.Glob(x.program.Database + "*"); err != nil || len(files) != 1 {
				t.Fatalf("there are %v, %v", files, err)
			}
			x.imagine(60)
			if x.outcomes[errLost]+x.outcomes[errDamaged] > 0 {
				t.Errorf("the outcomes are %v", x.outcomes)
			}
		})
	}
}
