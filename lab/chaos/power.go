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

	"example.com/coffee/internal/sleep"
	"example.com/coffee/internal/sqlitefile"
	"example.com/coffee/lab/powerfailure"
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
			return false, err
		}
	}
	sleep.For(ctx, f.pause)
	release()
	releaseWorkers()
	r.losses.Lost += loss.Lost
	r.losses.Torn += loss.Torn
	r.record(f, fmt.Sprintf("%-8s for %4.1f s: of what was not synced, %d writes are lost, %d torn, %d kept", f.kind, f.pause.Seconds(), loss.Lost, loss.Torn, loss.Kept))
	return true, nil
}

// readable returns an error if a power failure has damaged a database, or left less of it
// than a file that can be opened. It reads a copy: recovery is for whoever opens the file
// next.
func readable(ctx context.Context, database string) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(database), "copy-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	duplicate := filepath.Join(dir, filepath.Base(database))
	for _, ending := range []string{"", "-wal", "-journal"} {
		data, err := os.ReadFile(database + ending)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(duplicate+ending, data, 0o600)
		}
		if err != nil {
			return err
		}
	}
	found, err := sqlitefile.Find(duplicate)
	if err == nil && found {
		var db *sql.DB
		if db, err = sqlitefile.OpenRead(ctx, duplicate); err == nil {
			err = errors.Join(sqlitefile.Check(ctx, db), db.Close())
		}
	}
	if err != nil {
		return fmt.Errorf("%s cannot be read after a power failure: %w", database, err)
	}
	return nil // or nobody has created it yet
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
