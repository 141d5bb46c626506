//go:build !noserver

package devserver

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	diskspace "github.com/shirou/gopsutil/v4/disk"

	"example.com/coffee/internal/sqlitefile"
)

// testedUpgrades are the minor versions of the Temporal server whose databases are
// carried over in tests (testdata/old). Temporal itself promises upgrades from one
// minor version to the next.
var testedUpgrades = []string{"1.29", "1.30", "1.32"}

// keptInfix comes between the name of a database and the version of the server that
// made it, in the name under which an old database is kept.
const keptInfix = ".before-"

// upgrade makes a database of an older server one of this server. If only the stamp
// differs, it changes that. Otherwise it writes everything to a new file, which takes
// the place of the old one when it is complete, and keeps the old one. It returns a
// [*DatabaseError] if it cannot, and then has changed nothing. No database may be open
// on the file, which must be locked and held.
func (d *database) upgrade(ctx context.Context, path string, stamp Stamp, options Options) error {
	began := time.Now()
	fail := func(err error) error {
		var problem *DatabaseError
		if errors.As(err, &problem) || ctx.Err() != nil {
			return err
		}
		return &DatabaseError{File: path, Problem: "cannot be upgraded from " + maker(stamp) + ": " + sqlitefile.Reason(err), cause: err}
	}
	if err := checkpoint(ctx, path); err != nil {
		return fail(err)
	}
	draft, err := sqlitefile.NewDraft(path)
	if err != nil {
		return fail(err)
	}
	kept, err := carryOver(ctx, path, draft, stamp, options)
	if err := errors.Join(err, draft.Close()); err != nil {
		return fail(err)
	}
	if kept == "" {
		if err := restamp(ctx, path); err != nil {
			return fail(err)
		}
		options.notify("database %s is now that of Temporal server %s; it was that of %s", path, ServerVersion, maker(stamp))
		return nil
	}
	// The hold is on the old file.
	if err := d.hold.Release(); err != nil {
		return fail(err)
	}
	if d.hold, err = sqlitefile.Take(path); err != nil {
		return fail(err)
	}
	options.notify("database %s was carried over from %s to %s in %v", path, maker(stamp), ServerVersion, time.Since(began).Round(10*time.Millisecond))
	options.notify("the old file is kept as %s; to go back, stop the server, move it back to %s and start the older program: what happened since then is lost", kept, filepath.Base(path))
	return nil
}

// carryOver puts a draft with everything in it in the place of an old database, and
// returns the name under which that is kept; "" means that only its stamp has to change.
func carryOver(ctx context.Context, path string, draft *sqlitefile.Draft, stamp Stamp, options Options) (kept string, err error) {
	usage, err := diskspace.UsageWithContext(ctx, filepath.Dir(path))
	if err != nil {
		return "", err
	}
	c, err := newCarrier(ctx, path, draft.Name(), stamp.ClusterID)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.refuseUnknown(); err != nil {
		return "", &DatabaseError{File: path, Problem: "was written by " + maker(stamp) + ": " + err.Error(), cause: ErrUnknownSchema}
	}
	if from, err := semver.NewVersion(stamp.ServerVersion); err != nil {
		options.notify("database %s does not say which version made it; upgrades are tested from %s", path, strings.Join(testedUpgrades, ", "))
	} else if !slices.Contains(testedUpgrades, fmt.Sprintf("%d.%d", from.Major(), from.Minor())) {
		options.notify("upgrades from %s are not tested", maker(stamp))
	}
	if c.isSame() && stamp.ServerVersion != "" {
		return "", nil
	}
	if need := uint64(c.size) + uint64(c.size)/4; usage.Free < need {
		return "", fmt.Errorf("it needs %d MB on the disk, and %d MB are free", (need+1<<20-1)>>20, usage.Free>>20)
	}
	progress := newProgress(c.rows, func(percent int) {
		options.notify("carrying database %s over from %s: %d %%", path, maker(stamp), percent)
	})
	if err := errors.Join(c.copy(ctx, progress), c.close()); err != nil {
		return "", err
	}
	return keepOld(draft, path+keptInfix+cmp.Or(stamp.ServerVersion, "adoption"))
}

// keepOld puts a draft in the place of the old file, and returns the name under which
// that is kept: the given one, or one with a number if there is such a file.
func keepOld(draft *sqlitefile.Draft, name string) (kept string, err error) {
	kept = name
	for n := 2; ; n++ {
		if err := draft.Replace(kept); !errors.Is(err, fs.ErrExist) {
			return kept, err
		}
		kept = fmt.Sprintf("%s-%d", name, n)
	}
}

// maker returns the server that made a database, in words.
func maker(stamp Stamp) string {
	if stamp.ServerVersion == "" {
		return "another Temporal server"
	}
	return "Temporal server " + stamp.ServerVersion
}

// checkpoint moves everything from a database's log into its file, and removes the log.
func checkpoint(ctx context.Context, path string) error {
	return withSQLite(path, func(db *sql.DB) error {
		var busy, pages, moved int
		if err := db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &moved); err != nil {
			return err
		}
		if busy != 0 {
			return errors.New("another program has it open")
		}
		return nil
	})
}

// restamp stamps a database with the version of this server.
func restamp(ctx context.Context, path string) error {
	return withSQLite(path, func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, `UPDATE `+stampTable+` SET server_version = $1`, ServerVersion)
		return err
	})
}

// progress tells how far a long operation is: once a second, after the first.
type progress struct {
	all, done int64
	next      time.Time
	tell      func(percent int)
}

func newProgress(all int64, tell func(percent int)) *progress {
	return &progress{all: max(all, 1), next: time.Now().Add(time.Second), tell: tell}
}

func (p *progress) add(n int64) {
	p.done += n
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(time.Second)
		p.tell(int(100 * p.done / p.all))
	}
}

// newer reports whether a database was made by a newer server than this one.
func newer(stamp Stamp) (bool, error) {
	theirs, err := semver.NewVersion(stamp.ServerVersion)
	if err != nil {
		return false, err
	}
	ours, err := semver.NewVersion(ServerVersion)
	return err == nil && theirs.GreaterThan(ours), err
}
