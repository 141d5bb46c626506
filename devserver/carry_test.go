package devserver

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"example.com/coffee/devserver/internal/store"
	"example.com/coffee/internal/sqlitefile"
)

// TestStoreOnCarriedDatabases: on a real database that was carried over, the store does
// what Temporal's own plugin does on a copy of it.
func TestStoreOnCarriedDatabases(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/old/*.tar.gz")
	if err != nil || len(archives) == 0 {
		t.Fatal("there are no databases", err)
	}
	for _, archive := range archives {
		t.Run(filepath.Base(archive), func(t *testing.T) {
			t.Parallel()
			ctx, dir := context.Background(), t.TempDir()
			if out, err := exec.Command("tar", "-C", dir, "-xzf", archive).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			file, twin := filepath.Join(dir, "coffee.db"), filepath.Join(dir, "twin.db")
			d, err := openDatabase(ctx, Options{DatabaseFile: file, Adopt: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := d.close(); err != nil {
				t.Fatal(err)
			}
			if err := checkpoint(ctx, file); err != nil { // lest a log be left behind
				t.Fatal(err)
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(twin, content, 0o600); err != nil {
				t.Fatal(err)
			}
			quick := map[string]string{"synchronous": "off"} // no power fails here
			ours, err := store.Open(ctx, file, sqlitefile.DSN(file, "rw", quick)+sqlitefile.Immediate+"&_time_format=sqlite", "")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := ours.Shutdown(); err != nil {
					t.Error(err)
				}
			})
			// These rows are there already, in both.
			compareStores(t, ours, openTemporal(t, twin, map[string]string{"mode": "rw", "synchronous": "off"}), "InsertIntoQueueMetadata", "InsertIntoShards")
		})
	}
}
