package commands

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRemoveOldBackups: the newest backups are kept, each with its ledgers, and nothing
// else is touched.
func TestRemoveOldBackups(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{
		"coffee-20261125T010000Z.db", "coffee-20261125T010000Z-ledger-default.db", "coffee-20261125T010000Z-ledger-other.db",
		"coffee-20261125T020000Z.db",
		"coffee-20261125T030000Z.db", "coffee-20261125T030000Z-ledger.db",
		"coffee.db", "coffee-monday.db", "coffee-20261125T000000Z.db.new-1", "notes.txt",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "coffee-20261124T000000Z.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := removeOldBackups(dir, 2); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	want := "coffee-20261124T000000Z.db coffee-20261125T000000Z.db.new-1 coffee-20261125T020000Z.db coffee-20261125T030000Z-ledger.db coffee-20261125T030000Z.db coffee-monday.db coffee.db notes.txt"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
