package devserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// existsError reports that the name of a copy is taken. It is [fs.ErrExist].
type existsError struct{ file string }

func (e *existsError) Error() string { return e.file + " already exists" }
func (e *existsError) Unwrap() error { return fs.ErrExist }

// Backup copies SQLite databases: a server's, and others that belong to it. They
// may be in use meanwhile; nothing waits for the backup. The copies are taken
// together, as nearly as possible, and none is older than the one before it.
//
// The copies are one thing. They get their names when all of them are complete and
// durable, the first one last: where there is the first, there are the others. After an
// error there are none. It is [fs.ErrExist] if a name is taken.
func Backup(ctx context.Context, copies ...Copy) (err error) {
	var closers []func() error
	defer func() {
		for _, closer := range closers {
			err = errors.Join(err, closer())
		}
	}()
	var snapshots []*sqlitefile.Snapshot
	for _, c := range copies {
		if c.From == "" || c.To == "" {
			return errors.New("a backup needs a source file and a target file")
		}
		if _, err := os.Lstat(c.To); err == nil {
			return &existsError{c.To}
		}
		s, err := sqlitefile.OpenSnapshot(ctx, c.From)
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", c.From, err)
		}
		snapshots, closers = append(snapshots, s), append(closers, s.Close)
	}
	var drafts []*sqlitefile.Draft
	for i, c := range copies {
		draft, err := sqlitefile.NewDraft(c.To)
		if err != nil {
			return fmt.Errorf("cannot copy %s to %s: %s", c.From, c.To, sqlitefile.Reason(err)) // the path is that of the draft
		}
		drafts, closers = append(drafts, draft), append(closers, draft.Close)
		if err := snapshots[i].CopyTo(ctx, draft); err != nil {
			return fmt.Errorf("cannot copy %s to %s: %w", c.From, c.To, err)
		}
	}
	return publish(drafts, copies)
}

// publish gives drafts the names of their copies, the last one first, or none of them.
func publish(drafts []*sqlitefile.Draft, copies []Copy) error {
	for i := len(drafts) - 1; i >= 0; i-- {
		err := drafts[i].Publish()
		if err == nil {
			continue
		}
		if errors.Is(err, fs.ErrExist) {
			err = &existsError{copies[i].To}
		}
		for _, published := range copies[i+1:] {
			err = errors.Join(err, os.Remove(published.To))
		}
		return err
	}
	return nil
}
