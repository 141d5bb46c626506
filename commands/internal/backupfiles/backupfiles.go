// Package backupfiles knows the files of backups in a directory.
package backupfiles

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/disk"
	"go.temporal.io/sdk/client"

	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/sqlitefile"
	"example.com/coffee/internal/text"
)

// BackupTime is the time in the name of a backup in a directory, in UTC. Sorted by
// name, the backups are sorted by time.
const BackupTime = "20060102T150405Z"

// rotated are the names of such backups: a database, and its ledgers. What follows is that
// of a draft.
var rotated = regexp.MustCompile(`^(coffee-\d{8}T\d{6}Z)(-ledger.*)?\.db(` + regexp.QuoteMeta(sqlitefile.DraftInfix) + `.*)?$`)

// backupFiles are the files of one backup in a directory.
type backupFiles struct {
	database string // empty if there is none of that name
	ledgers  []string
	drafts   []string // of any of them
}

// RemoveOld removes all but the newest backups of a server in the directory of the
// one that was just made, and what is left of those that a kill ended. A backup counts if
// its database is there, which gets its name last, was made by this server, and has a time
// that is not in the future. For anything else by such a name a line says why it stays.
// The function clusterOf returns the id of the server that made a database.
func RemoveOld(ctx context.Context, made string, keep int, clusterOf func(ctx context.Context, database string) (string, error)) (ignored []string, err error) {
	dir := filepath.Dir(made)
	ours, err := clusterOf(ctx, made)
	if err != nil {
		return nil, err
	}
	backups, err := backupsIn(dir)
	if err != nil {
		return nil, err
	}
	newest := strings.TrimSuffix(filepath.Base(made), ".db")
	var counted []string
	for name, files := range backups {
		reason := ""
		if _, err := time.Parse("coffee-"+BackupTime, name); err != nil {
			reason = "its name has no time"
		} else if name > newest {
			reason = "its time is in the future"
		} else if files.database == "" {
			if err := removeFragments(filepath.Join(dir, name+".db"), files); err != nil {
				return nil, err
			}
			continue
		} else if cluster, err := clusterOf(ctx, files.database); err != nil {
			reason = "it is none, or cannot be read"
		} else if cluster != ours {
			// One line is enough for all of them.
			ignored = append(ignored, fmt.Sprintf("backups of the server %s in %s stay: --keep is about this server's", cluster, text.Printable(dir)))
			continue
		}
		if reason != "" {
			ignored = append(ignored, fmt.Sprintf("%s is not counted as a backup, and stays: %s", text.Printable(filepath.Join(dir, name+".db")), reason))
			continue
		}
		counted = append(counted, name)
	}
	slices.Sort(counted)
	slices.Sort(ignored)
	for _, old := range counted[:max(0, len(counted)-keep)] {
		if err := removeBackup(backups[old]); err != nil {
			return ignored, fmt.Errorf("an old backup cannot be removed: %w", err)
		}
	}
	return slices.Compact(ignored), nil
}

// backupsIn returns the backups in a directory, by the name that their files begin with.
func backupsIn(dir string) (map[string]*backupFiles, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	backups := map[string]*backupFiles{}
	for _, entry := range entries {
		match := rotated.FindStringSubmatch(entry.Name())
		if match == nil || !entry.Type().IsRegular() {
			continue
		}
		files := backups[match[1]]
		if files == nil {
			files = &backupFiles{}
			backups[match[1]] = files
		}
		switch path := filepath.Join(dir, entry.Name()); {
		case match[3] != "":
			files.drafts = append(files.drafts, path)
		case match[2] != "":
			files.ledgers = append(files.ledgers, path)
		default:
			files.database = path
		}
	}
	return backups, nil
}

// removeBackup removes a backup. What is left after a kill looks like a backup that was not
// finished, see [removeFragments].
func removeBackup(files *backupFiles) error {
	draft := files.database + sqlitefile.DraftInfix + "removed"
	if err := os.Rename(files.database, draft); err != nil {
		return err
	}
	var errs []error
	for _, file := range files.ledgers {
		errs = append(errs, os.Remove(file))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.Remove(draft)
}

// removeFragments removes a backup whose process was killed before its database had its
// name: the drafts that no process holds, and, if that of the database is among them, the
// ledgers that had their names. Ledgers alone are somebody's.
func removeFragments(database string, files *backupFiles) error {
	err := sqlitefile.RemoveDrafts(database, files.ledgers...)
	for _, draft := range files.drafts {
		file, _, _ := strings.Cut(draft, sqlitefile.DraftInfix)
		if file != database {
			err = errors.Join(err, sqlitefile.RemoveDrafts(file))
		}
	}
	return err
}

// CheckRoom returns an error if a directory has no room for a copy of a backup.
func CheckRoom(ctx context.Context, dir, file string, ledgers []ledgerBeside) error {
	var needed uint64
	for _, one := range append(ledgers, ledgerBeside{File: file}) {
		info, err := os.Stat(one.File)
		if err != nil {
			return err
		}
		needed += uint64(info.Size())
	}
	usage, err := disk.UsageWithContext(ctx, dir)
	if err != nil || usage.Free >= needed {
		return nil // or copying finds out
	}
	return exit.Hinted(fmt.Errorf("%s has room for %d MB, but a copy to verify takes %d MB", filepath.Dir(dir), usage.Free>>20, needed>>20), "name a directory with more room in $TMPDIR")
}

// ledgerBeside is a ledger in a backup.
type ledgerBeside struct{ Namespace, File string }

// LedgersBeside returns the ledgers that coffee backup has put beside a database, sorted by
// namespace. A ledger that the user named belongs to the default one.
func LedgersBeside(file string) (ledgers []ledgerBeside, err error) {
	extension := cmp.Or(filepath.Ext(file), ".db")
	prefix := strings.TrimSuffix(filepath.Base(file), extension) + "-ledger"
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		rest, ok := strings.CutPrefix(entry.Name(), prefix)
		escaped, isDB := strings.CutSuffix(rest, extension)
		if !ok || !isDB || escaped != "" && !strings.HasPrefix(escaped, "-") {
			continue
		}
		namespace, err := url.PathUnescape(strings.TrimPrefix(escaped, "-"))
		if err != nil || url.PathEscape(namespace) != strings.TrimPrefix(escaped, "-") {
			continue // coffee backup gave it no such name
		}
		ledgers = append(ledgers, ledgerBeside{cmp.Or(namespace, client.DefaultNamespace), filepath.Join(filepath.Dir(file), entry.Name())})
	}
	slices.SortFunc(ledgers, func(a, b ledgerBeside) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.File, b.File))
	})
	return ledgers, nil
}
