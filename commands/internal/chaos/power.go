//go:build unix

package chaos

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"example.com/coffee/internal/powerfailure"
	"example.com/coffee/internal/sqlitefile"
)

// recordings is the directory of what the processes have written to their databases.
const recordings = "recordings"

// powerFailure stops the server and the workers at one instant, and leaves of their
// files what a power failure would have left. It waits a while for a charge.
func (r *run) powerFailure(ctx context.Context, f fault) (bool, error) {
	if !slices.ContainsFunc(r.workers(), r.charging) && time.Now().Before(r.freezeBy) {
		return false, nil
	}
	// Nobody outside can have heard of what a worker wrote after the server was gone.
	release := r.hold(theServer)
	instant := powerfailure.Now()
	releaseWorkers := r.hold(r.workers()...)
	databases := []string{r.path(database)}
	if r.Ledger == "" {
		databases = append(databases, r.ledger)
	}
	loss, err := powerfailure.Fail(r.path(recordings), instant, rand.New(rand.NewPCG(r.Seed, f.detail)), databases...)
	if err == nil && loss.Files == 0 {
		err = errors.New("nothing was recorded")
	}
	if err != nil {
		return false, fmt.Errorf("cannot make the power fail: %w", err)
	}
	for _, database := range databases {
		if err := readable(ctx, database); err != nil {
			return false, fmt.Errorf("after a power failure nobody can read %s: %w", database, err)
		}
	}
	sleep(ctx, f.pause)
	release()
	releaseWorkers()
	r.losses.Lost += loss.Lost
	r.losses.Torn += loss.Torn
	r.record(f, fmt.Sprintf("%-8s for %4.1f s: of what was not synced, %d writes are lost, %d torn, %d kept", f.kind, f.pause.Seconds(), loss.Lost, loss.Torn, loss.Kept))
	return true, nil
}

// readable returns an error unless SQLite can read all of a database. It reads a copy:
// that the file is recovered is for those to do who open it next.
func readable(ctx context.Context, database string) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(database), "copy-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, ending := range []string{"", "-wal"} {
		data, err := os.ReadFile(database + ending)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was never created
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "copy.db"+ending), data, 0o600); err != nil {
			return err
		}
	}
	db, err := sql.Open("sqlite", sqlitefile.DSN(filepath.Join(dir, "copy.db"), "rwc"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return sqlitefile.Check(ctx, db)
}

// hold kills processes, and keeps them down until release is called.
func (r *run) hold(which ...int) (release func()) {
	for _, i := range which {
		r.processes[i].hold()
	}
	return func() {
		for _, i := range which {
			r.processes[i].release()
		}
	}
}
