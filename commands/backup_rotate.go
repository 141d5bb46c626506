package commands

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"example.com/coffee/coffee"
)

// backupTime is the time in the name of a backup in a directory, in UTC. Sorted by
// name, the backups are sorted by time.
const backupTime = "20060102T150405Z"

// rotated are the files of such backups: a database, and its ledgers.
var rotated = regexp.MustCompile(`^coffee-(\d{8}T\d{6}Z)(-ledger.*)?\.db$`)

// runBackups makes a backup in a directory now and then, and keeps the newest ones, until
// the context ends. A backup that fails is told and tried again when the next is due,
// unless it is the first.
func runBackups(ctx context.Context, a *app, plan backupPlan) error {
	a.outliveReaders()
	dir := plan.to
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is not a directory", coffee.Printable(dir))
	}
	for first := true; ; first = false {
		plan.to = filepath.Join(dir, "coffee-"+time.Now().UTC().Format(backupTime)+".db")
		err := runBackup(ctx, a, plan)
		if err == nil {
			err = removeOldBackups(dir, plan.keep)
		}
		switch {
		case ctx.Err() != nil: // interrupted, perhaps in a backup: that is how it ends
			return nil
		case err != nil && first:
			return err
		case err != nil:
			a.out.notef("no backup was made: %v; the next one is due in %v", err, plan.every)
		}
		if !sleep(ctx, plan.every) {
			return nil
		}
	}
}

// removeOldBackups removes all but the newest backups in a directory, and no other
// files.
func removeOldBackups(dir string, keep int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	files := map[string][]string{} // by the time of the backup
	var times []string
	for _, entry := range entries {
		match := rotated.FindStringSubmatch(entry.Name())
		if match == nil || !entry.Type().IsRegular() {
			continue
		}
		if files[match[1]] == nil {
			times = append(times, match[1])
		}
		files[match[1]] = append(files[match[1]], entry.Name())
	}
	slices.Sort(times)
	for _, old := range times[:max(0, len(times)-keep)] {
		for _, name := range files[old] {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("an old backup cannot be removed: %w", err)
			}
		}
	}
	return nil
}
