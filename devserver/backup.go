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
	// To is the file of the copy. It must not exist; its directory must.
	To string
}

// Backup copies SQLite databases: a server's, and others that belong to it. They
// may be in use meanwhile; nothing waits for the backup. The copies are taken
// together, as nearly as possible, and none is older than the one before it.
//
// A copy is complete and durable when it gets its name. After an error there are
// only the copies that were complete before it.
func Backup(ctx context.Context, copies ...Copy) (err error) {
	var snapshots []*sqlitefile.Snapshot
	defer func() {
		for _, s := range snapshots {
			err = errors.Join(err, s.Close())
		}
	}()
	for _, c := range copies {
		if c.From == "" || c.To == "" {
			return errors.New("a backup needs a source file and a target file")
		}
		if _, err := os.Lstat(c.To); err == nil {
			return fmt.Errorf("%s already exists", c.To)
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
