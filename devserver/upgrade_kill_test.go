// The race detector makes each of a hundred processes ten times as slow, and sees nothing
// in them: one goroutine copies, until it is killed.

//go:build unix && !race

package devserver

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bigRows adds 10,000 rows, so that an upgrade takes a while.
const bigRows = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
	INSERT INTO history_node (shard_id, tree_id, branch_id, node_id, txn_id, data, data_encoding) SELECT 1, x'00', x'00', i, i, randomblob(200), 'x' FROM n`

// TestUpgradeKilled kills an upgrade at random instants, a hundred if everything is tried.
// The database is the old one or the new one then, whole, and the next start goes on.
func TestUpgradeKilled(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	old := filepath.Join(dir, "old.db")
	oldDatabase(t, old, "1.31.5", append(older, bigRows)...)
	content, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	upgrade := func(file string) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), upgradeVariable+"="+file)
		cmd.Stderr = t.Output()
		return cmd
	}
	file := filepath.Join(dir, "x.db")
	began := time.Now()
	fresh(t, file, content)
	if err := upgrade(file).Run(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)

	outcomes := map[string]int{}
	kills := sample(12, 100)
	for range kills {
		fresh(t, file, content)
		cmd := upgrade(file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(random.Int64N(int64(took) * 3 / 2))) // the instant of the kill
		_ = cmd.Process.Kill()                                        // it may have ended
		_ = cmd.Wait()                                                // it was killed

		stamp, err := ReadStamp(context.Background(), file)
		if err != nil || stamp.ServerVersion != "1.31.5" && stamp.ServerVersion != ServerVersion {
			t.Fatalf("after a kill the stamp is %v, %v", stamp, err)
		}
		outcomes[stamp.ServerVersion]++
		if kept, _ := filepath.Glob(file + ".before-*"); len(kept) > 0 {
			outcomes["kept"]++
		} else if stamp.ServerVersion == ServerVersion {
			t.Fatal("the old one is gone")
		}
		// Everything is there, and the next start goes on.
		wantRows(t, file, 10_000)
		d, err := openDatabase(context.Background(), Options{DatabaseFile: file})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
		wantRows(t, file, 10_000)
		if after, err := ReadStamp(context.Background(), file); err != nil || after != (Stamp{ServerVersion, stamp.ClusterID}) {
			t.Fatalf("after the next start the stamp is %v, %v", after, err)
		}
		if left, err := filepath.Glob(file + ".new-*"); err != nil || len(left) > 0 {
			t.Fatalf("left behind: %v, %v", left, err)
		}
		if kept, err := os.ReadFile(file + ".before-1.31.5"); err != nil || string(kept) != string(content) {
			t.Fatalf("the old one is not what it was, %v", err)
		}
	}
	t.Logf("an upgrade takes %v; after the kills: %v", took, outcomes)
	if outcomes["1.31.5"] < kills/10 {
		t.Errorf("too few kills came before the end: %v", outcomes)
	}
}

// fresh puts a copy of the old database in the place of all that there is.
func fresh(t *testing.T, file string, content []byte) {
	t.Helper()
	all, err := filepath.Glob(file + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantRows checks that a database is whole, and how many big rows it has.
func wantRows(t *testing.T, file string, want int) {
	t.Helper()
	db, err := openSQLite(file)
	if err != nil {
		t.Fatal(err)
	}
	var got int
	var verdict string
	err = errors.Join(
		db.QueryRow(`SELECT count(*) FROM history_node WHERE data_encoding = 'x'`).Scan(&got),
		db.QueryRow(`PRAGMA quick_check`).Scan(&verdict),
		db.Close())
	if err != nil || got != want || strings.TrimSpace(verdict) != "ok" {
		t.Fatalf("%d rows, %s, %v", got, verdict, err)
	}
}
