package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"modernc.org/sqlite"
)

// Snapshot is a database as it was at one moment. Other processes can go on
// writing to it; what they write is not in the snapshot.
type Snapshot struct {
	db   *sql.DB
	conn *sql.Conn
	tx   *sql.Tx
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
	if s.db, err = sql.Open("sqlite", DSN(file, "rw", map[string]string{"query_only": "1", "busy_timeout": "5000"})); err != nil {
		return nil, err
	}
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return nil, err
	}
	// The transaction outlives the context: only Close ends it.
	if s.tx, err = s.conn.BeginTx(context.WithoutCancel(ctx), nil); err != nil {
		return nil, err
	}
	var tables int
	return s, s.tx.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema`).Scan(&tables) // the first read fixes the moment
}

// Close releases the database.
func (s *Snapshot) Close() error {
	var errs []error
	if s.tx != nil {
		errs = append(errs, s.tx.Rollback())
	}
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(errs...)
}

// CopyTo copies the snapshot to a new file, which is checked and durable when it
// gets its name.
func (s *Snapshot) CopyTo(ctx context.Context, to string) error {
	begun := false
	err := Create(to, func(draft string) error {
		begun = true
		if err := s.conn.Raw(func(conn any) error { return copyPages(ctx, conn, draft) }); err != nil {
			return err
		}
		return checkCopy(ctx, draft)
	})
	var pathError *fs.PathError
	switch {
	case errors.Is(err, fs.ErrExist):
		return errors.New("it already exists")
	case !begun && errors.As(err, &pathError): // the path is that of the draft
		return errors.New(Reason(err))
	}
	return err
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

// checkCopy reads the whole copy: a damaged backup is worse than none.
func checkCopy(ctx context.Context, file string) error {
	err := CheckFile(ctx, file)
	var problem *Problem
	if errors.As(err, &problem) {
		err = errors.New("the copy " + problem.Text)
	}
	return err
}
