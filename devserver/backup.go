package devserver

import (
	"context"
	"errors"
	"fmt"
	"os"

	"example.com/coffee/internal/sqlitefile"
)

// Copy is a copy of a SQLite database.
type Copy struct {
	// From is the file of the database.
	From string
	// To is the file of the copy, which must not exist. Its directory must.
	To string
}

// Backup copies SQLite databases: that of a server, and others that belong to
// it, which anybody may be using meanwhile. Nobody waits for it. The copies are
// of the same moment, as near as can be, and in any case none of them is of an
// earlier moment than those before it.
//
// A copy is complete and durable when it gets its name. If there is an error,
// there are no copies but those that were complete before it.
func Backup(ctx context.Context, copies ...Copy) (err error) {
	var snapshots []*sqlitefile.Snapshot
	defer func() {
		for _, s := range snapshots {
			err = errors.Join(err, s.Close())
		}
	}()
	for _, c := range copies {
		if c.From == "" || c.To == "" {
			return errors.New("a copy needs a file to copy, and a name")
		}
		if _, err := os.Lstat(c.To); err == nil {
			return fmt.Errorf("%s exists already", c.To)
		}
		s, err := sqlitefile.OpenSnapshot(ctx, c.From)
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", c.From, err)
		}
		snapshots = append(snapshots, s)
	}
	for i, c := range copies {
		if err := snapshots[i].CopyTo(ctx, c.To); err != nil {
			return fmt.Errorf("cannot copy %s to %s: %w", c.From, c.To, err)
		}
	}
	return nil
}
