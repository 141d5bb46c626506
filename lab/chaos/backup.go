//go:build unix

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"example.com/coffee/internal/release"
	"example.com/coffee/internal/text"
	"example.com/coffee/lab/powerfailure"
)

// command runs coffee as an operator does, and returns its output.
func (r *run) command(ctx context.Context, args ...string) ([]byte, error) {
	if r.world != nil {
		return r.world.command(ctx, args...)
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, executable)
	cmd.Args = append([]string{"coffee"}, args...)
	p := &process{}
	if r.has(carryOver) { // it judges the orders of either release
		p.faults = append(p.faults, "release="+release.Patched)
	}
	cmd.Env, cmd.WaitDelay = slices.Concat(r.env, r.injection(p)), time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("coffee %s: %w: %s", args[0], err, text.Printable(stderr.String()))
	}
	return out, err
}

// backup is a backup that an operator has made.
type backup struct {
	// moment is when it began: it has everything from before.
	moment           int64
	database, ledger string
}

// backUp makes a backup while everything runs.
func (r *run) backUp(ctx context.Context, f fault) (bool, error) {
	if r.undoing.Load() > 0 {
		return false, nil // it would come back, and nobody would take it back once more
	}
	if !r.answers(ctx) {
		return false, ctx.Err() // a database that is being carried over would be carried over again after it comes back
	}
	moment := powerfailure.Now()
	out, err := r.command(ctx, "backup", "--db-filename", r.path(database), "--ledger", r.ledger, "-o", "json", r.path(fmt.Sprintf("backup-%d.db", moment)))
	if err != nil {
		if ctx.Err() == nil && time.Since(r.freezeBy) < patience {
			return false, nil // the server is being started, or carries its database over
		}
		return false, err
	}
	var made struct {
		Database string   `json:"database"`
		Ledgers  []string `json:"ledgers"`
	}
	if err := json.Unmarshal(out, &made); err != nil || len(made.Ledgers) != 1 {
		return false, fmt.Errorf("the backup says %s: %w", out, err)
	}
	r.backup = &backup{moment, made.Database, made.Ledgers[0]}
	r.record(f, fmt.Sprintf("%-8s of server and ledger", f.kind))
	return true, nil
}

// restore goes back to the backup. What came after it is gone, and the client places
// again what it has no answer for.
func (r *run) restore(ctx context.Context, f fault) (bool, error) {
	if r.backup == nil {
		return true, nil
	}
	if !r.answers(ctx) {
		return false, ctx.Err() // a server that is being upgraded has to come to its end
	}
	release := r.hold(append([]int{theServer, theClient}, r.workers()...)...)
	defer release()
	for from, to := range map[string]string{r.backup.database: r.path(database), r.backup.ledger: r.ledger} {
		for _, besides := range []string{"-wal", "-shm"} {
			if err := os.Remove(to + besides); err != nil && !errors.Is(err, os.ErrNotExist) {
				return false, err
			}
		}
		if err := os.Rename(from, to); err != nil {
			return false, err
		}
		if r.has(power) {
			if err := powerfailure.Adopt(r.path(recordings), to); err != nil {
				return false, err
			}
		}
	}
	if err := r.journal.Restored(r.backup.moment); err != nil {
		return false, err
	}
	r.record(f, fmt.Sprintf("%-8s the backup", f.kind))
	if r.wanted == "" {
		return true, nil
	}
	return true, r.rollOut(ctx, r.wanted) // a later one than that of the backup, perhaps
}
