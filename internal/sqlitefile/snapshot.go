package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"modernc.org/sqlite"
)

// Snapshot is a database as it was at one moment. Other processes can go on
// writing to it; what they write is not in the snapshot.
type Snapshot struct {
	db   *sql.DB
	conn *sql.Conn // in a transaction
}

// OpenSnapshot takes a snapshot of the database in a file, as of the moment when
// it returns.
func OpenSnapshot(ctx context.Context, file string) (_ *Snapshot, err error) {
	if _, err := os.Stat(file); err != nil {
		return nil, errors.New(Reason(err))
	}
	s := &Snapshot{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.db, err = OpenRead(ctx, file); err != nil {
		return nil, err
	}
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return nil, err
	}
	_, err = s.conn.ExecContext(ctx, `BEGIN; SELECT count(*) FROM sqlite_schema`) // the first read fixes the moment
	return s, err
}

// Close releases the database.
func (s *Snapshot) Close() error {
	var errs []error
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(errs...)
}

// CopyTo copies the snapshot to a draft, and checks the copy. It has no write-ahead log, so
// it can be read where nothing can be written.
func (s *Snapshot) CopyTo(ctx context.Context, draft *Draft) error {
	if err := s.conn.Raw(func(conn any) error { return copyPages(ctx, conn, draft.Name()) }); err != nil {
		return err
	}
	return checkCopy(ctx, draft.Name())
}

// copyPages copies the database that a driver's connection has open, as its
// transaction sees it.
func copyPages(ctx context.Context, conn any, to string) error {
	source, ok := conn.(interface {
		NewBackup(uri string) (*sqlite.Backup, error)
	})
	if !ok {
		return fmt.Errorf("a %T cannot be copied", conn)
	}
	backup, err := source.NewBackup(DSN(to, "rw"))
	if err != nil {
		return err
	}
	for more := true; more && err == nil; {
		if more, err = backup.Step(1000); err == nil { // about 4 MB
			err = ctx.Err()
		}
	}
	// After a failed step Finish returns the same error, or none at all.
	if finishErr := backup.Finish(); err == nil {
		err = finishErr
	}
	var failure *sqlite.Error
	if errors.As(err, &failure) { // its message is about the other connection, where nothing is wrong
		err = fmt.Errorf("%s (%d)", sqlite.ErrorCodeString[failure.Code()&0xff], failure.Code())
	}
	return err
}

// checkCopy reads the whole copy, which it makes one file: a damaged backup is worse than
// none.
func checkCopy(ctx context.Context, file string) (err error) {
	db, err := sql.Open("sqlite", DSN(file, "rw", map[string]string{"journal_mode": "delete", "synchronous": "off"})) // the draft is synced as a whole
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = Check(ctx, db)
	var problem *Problem
	if errors.As(err, &problem) {
		err = errors.New("the copy " + problem.Text)
	}
	return err
}
