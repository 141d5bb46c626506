package commands

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/backupfiles"
	"example.com/coffee/internal/sleep"
	"example.com/coffee/internal/text"
)

// runBackups makes a backup in a directory every plan.every, and keeps the newest ones, until
// the context ends. A failed one is reported, and the next is made on schedule, unless it is
// the first.
func runBackups(ctx context.Context, a *app.App, plan backupPlan) error {
	a.Out.OutliveReaders()
	if info, err := os.Stat(plan.to); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is not a directory", text.Printable(plan.to))
	}
	told := map[string]bool{}
	for first := true; ; first = false {
		made, err := backUpInto(ctx, a, plan)
		switch {
		case ctx.Err() != nil: // interrupted, perhaps in a backup: that is how it ends
			return nil
		case err != nil && first:
			return err
		case err != nil:
			a.Out.Notef("no backup was made: %v; the next one is due in %v", err, plan.every)
		default:
			ignored, err := backupfiles.RemoveOld(ctx, made, plan.keep)
			if err != nil {
				a.Out.Notef("old backups stay: %v", err)
			}
			for _, line := range ignored {
				if !told[line] {
					a.Out.Notef("%s", line)
				}
				told[line] = true
			}
		}
		if !sleep.For(ctx, plan.every) {
			return nil
		}
	}
}

// backUpInto makes a backup in the plan's directory, and returns its database. Where another server
// has made one in the same second, it takes the next.
func backUpInto(ctx context.Context, a *app.App, plan backupPlan) (string, error) {
	for {
		to := filepath.Join(plan.to, "coffee-"+time.Now().UTC().Format(backupfiles.BackupTime)+".db")
		if err := backUp(ctx, a, plan, to); !errors.Is(err, fs.ErrExist) || !sleep.For(ctx, time.Second) {
			return to, err
		}
	}
}
