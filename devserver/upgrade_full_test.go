// As in upgrade_kill_test.go, another process upgrades.

//go:build linux && !race

package devserver

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUpgradeOnAFullDisk: too little room is noticed before anything is written. If the
// disk fills up in the middle, the old database is whole, nothing is left behind, and
// the next start goes on.
func TestUpgradeOnAFullDisk(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("unshare", "-rm", "true").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Skipf("no disks can be mounted here: %v", err)
	}
	for name, test := range map[string]struct{ size, meanwhile, want string }{
		"too little room": {"6m", "true", "it needs 4 MB on the disk, and 3 MB are free"},
		"it fills up":     {"8m", "until ls disk/x.db.new-* >/dev/null 2>&1; do :; done; head -c 100M /dev/zero >disk/filler 2>/dev/null", "database or disk is full"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			old := filepath.Join(dir, "old.db")
			oldDatabase(t, old, "1.31.5", append(older, bigRows)...)
			// The disk is gone when the shell ends: what is on it is copied.
			cmd := exec.Command("unshare", "-rm", "sh", "-c", `
				set -e
				mkdir disk
				mount -t tmpfs -o size=`+test.size+` none disk
				cp old.db disk/x.db
				(`+test.meanwhile+`) &
				! "$0"
				wait
				rm -f disk/filler
				ls disk >after.list
				cp disk/x.db after.db
				mount -o remount,size=100m disk
				"$0"
				cp disk/x.db upgraded.db`, os.Args[0])
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), upgradeVariable+"=disk/x.db")
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "cannot be upgraded from Temporal server 1.31.5: ") || !strings.Contains(string(out), test.want) {
				t.Fatalf("%v\n%s", err, out)
			}
			before, err1 := os.ReadFile(old)
			after, err2 := os.ReadFile(filepath.Join(dir, "after.db"))
			if err1 != nil || err2 != nil || !bytes.Equal(before, after) {
				t.Error("the old database was changed", err1, err2)
			}
			if list, err := os.ReadFile(filepath.Join(dir, "after.list")); err != nil || string(list) != "x.db\nx.db.lock\n" {
				t.Errorf("there are %q, %v", list, err)
			}
			upgraded := filepath.Join(dir, "upgraded.db")
			if stamp, err := ReadStamp(context.Background(), upgraded); err != nil || stamp.ServerVersion != ServerVersion {
				t.Errorf("the stamp is %v, %v", stamp, err)
			}
			wantRows(t, upgraded, 10_000)
		})
	}
}
