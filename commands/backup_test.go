package commands

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/coffee/commands/internal/backupfiles"
	"example.com/coffee/internal/sqlitefile"
)

// stamped makes what looks like the database of a server.
func stamped(t *testing.T, file, clusterID string) {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", sqlitefile.DSN(file, "rw"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`CREATE TABLE devserver_stamp (server_version TEXT NOT NULL, cluster_id TEXT NOT NULL); INSERT INTO devserver_stamp VALUES ('1.2.3', ?)`, clusterID)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// files makes files in a directory, and returns the names of all that are there.
func files(t *testing.T, dir string, make ...string) string {
	t.Helper()
	for _, name := range make {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("not a database"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return strings.Join(names, "\n")
}

// TestRemoveOldBackups: the newest backups of this server are kept, each with its ledgers,
// and nothing else is touched or counted.
func TestRemoveOldBackups(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, time := range []string{"20261125T010000Z", "20261125T020000Z", "20261125T030000Z", "20261125T040000Z"} {
		stamped(t, filepath.Join(dir, "coffee-"+time+".db"), "ours")
	}
	stamped(t, filepath.Join(dir, "coffee-20261125T023000Z.db"), "theirs")
	stamped(t, filepath.Join(dir, "coffee-20261125T033000Z.db"), "theirs")
	stamped(t, filepath.Join(dir, "coffee-20990101T000000Z.db"), "ours")
	stamped(t, filepath.Join(dir, "coffee-20261399T000000Z.db"), "ours")
	stays := []string{
		"coffee-20261125T023000Z-ledger-default.db", "coffee-20261125T031500Z.db", "coffee-20261125T033000Z-ledger-other.db",
		"coffee-20261125T040000Z-ledger.db", "coffee-20261125T005000Z-ledger.db",
		"coffee.db", "coffee-monday.db", "notes.txt",
	}
	files(t, dir, stays...)
	if err := os.Mkdir(filepath.Join(dir, "coffee-20261124T000000Z.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("coffee-20261125T040000Z.db", filepath.Join(dir, "coffee-20261124T010000Z.db")); err != nil {
		t.Fatal(err)
	}
	want := files(t, dir)
	for _, old := range []string{"coffee-20261125T010000Z.db", "coffee-20261125T020000Z.db"} {
		want = strings.Replace(want, old+"\n", "", 1)
	}
	files(t, dir, "coffee-20261125T010000Z-ledger-default.db", "coffee-20261125T010000Z-ledger-other.db")
	ignored, err := backupfiles.RemoveOld(t.Context(), filepath.Join(dir, "coffee-20261125T040000Z.db"), 2, clusterOf)
	if err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); got != want {
		t.Errorf("there are\n%s\nwant\n%s", got, want)
	}
	wantIgnored := []string{
		filepath.Join(dir, "coffee-20261125T031500Z.db") + " is not counted as a backup, and stays: it is none, or cannot be read",
		filepath.Join(dir, "coffee-20261399T000000Z.db") + " is not counted as a backup, and stays: its name has no time",
		filepath.Join(dir, "coffee-20990101T000000Z.db") + " is not counted as a backup, and stays: its time is in the future",
		"backups of the server theirs in " + dir + " stay: --keep is about this server's",
	}
	if got, want := strings.Join(ignored, "\n"), strings.Join(wantIgnored, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestRemoveFragments: what a killed backup has left is removed, and what one that runs has
// written stays, and so does a ledger that is there alone.
func TestRemoveFragments(t *testing.T) {
	t.Parallel()
	if !sqlitefile.Holds {
		t.Skip("here the age of a draft decides")
	}
	dir := t.TempDir()
	made := filepath.Join(dir, "coffee-20261125T090000Z.db")
	stamped(t, made, "ours")
	running, err := sqlitefile.NewDraft(filepath.Join(dir, "coffee-20261125T040000Z.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	want := files(t, dir, "coffee-20261125T030000Z-ledger-default.db", "coffee-20261125T040000Z-ledger-default.db")
	files(t, dir,
		// It was killed while it copied, when its ledger had its name, and while it was removed.
		"coffee-20261125T010000Z.db.new-1", "coffee-20261125T010000Z.db.new-1-journal", "coffee-20261125T010000Z-ledger-default.db.new-2",
		"coffee-20261125T020000Z.db.new-1", "coffee-20261125T020000Z-ledger-default.db", "coffee-20261125T020000Z-ledger-other.db.new-4",
		"coffee-20261125T000000Z.db.new-removed", "coffee-20261125T000000Z-ledger.db",
	)
	if _, err := backupfiles.RemoveOld(t.Context(), made, 1, clusterOf); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); got != want {
		t.Errorf("there are\n%s\nwant\n%s", got, want)
	}
}

// TestLedgersBeside: the namespace of a ledger is read as it was written into the file's
// name, in an order that does not change.
func TestLedgersBeside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files(t, dir, "b.db", "b-ledger-shop.db", "b-ledger-north%20shop.db", "b-ledger-a%2Fb.db", "b-ledger.db",
		"b-ledger-north%zz.db", "b-ledger-north shop.db", "b-ledgers.db", "b-ledger-x.txt", "c-ledger-y.db")
	ledgers, err := backupfiles.LedgersBeside(filepath.Join(dir, "b.db"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, ledger := range ledgers {
		got = append(got, ledger.Namespace+" in "+filepath.Base(ledger.File))
	}
	want := []string{"a/b in b-ledger-a%2Fb.db", "default in b-ledger.db", "north shop in b-ledger-north%20shop.db", "shop in b-ledger-shop.db"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
