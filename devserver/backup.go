package devserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"modernc.org/sqlite"

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
	var snapshots []*snapshot
	defer func() {
		for _, s := range snapshots {
			err = errors.Join(err, s.close())
		}
	}()
	for _, c := range copies {
		if c.From == "" || c.To == "" {
			return errors.New("a copy needs a file to copy, and a name")
		}
		if _, err := os.Lstat(c.To); err == nil {
			return fmt.Errorf("%s exists already", c.To)
		}
		s, err := openSnapshot(ctx, c.From)
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", c.From, err)
		}
		snapshots = append(snapshots, s)
	}
	for i, c := range copies {
		if err := snapshots[i].copy(ctx, c.To); err != nil {
			return fmt.Errorf("cannot copy %s to %s: %w", c.From, c.To, err)
		}
	}
	return nil
}

// snapshot is a database as it was at some moment.
type snapshot struct {
	db   *sql.DB
	conn *sql.Conn
	tx   *sql.Tx
}

func openSnapshot(ctx context.Context, file string) (_ *snapshot, err error) {
	if _, err := os.Stat(file); err != nil {
		return nil, errors.New(describe(err))
	}
	s := &snapshot{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	dsn := sqliteDSN(file, "rw", map[string]string{"query_only": "1", "busy_timeout": "5000"})
	if s.db, err = sql.Open("sqlite", dsn); err != nil {
		return nil, err
	}
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return nil, err
	}
	// It outlives the context's end, so that it is closed by us alone.
	if s.tx, err = s.conn.BeginTx(context.WithoutCancel(ctx), nil); err != nil {
		return nil, err
	}
	var tables int
	return s, s.tx.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema`).Scan(&tables) // the moment
}

func (s *snapshot) close() error {
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

func (s *snapshot) copy(ctx context.Context, to string) (err error) {
	draft, err := sqlitefile.NewDraft(to)
	if err != nil {
		return errors.New(describe(err))
	}
	defer func() { err = errors.Join(err, draft.Close()) }()
	if err := s.conn.Raw(func(conn any) error { return copyPages(ctx, conn, draft.Name()) }); err != nil {
		return err
	}
	if err := checkCopy(ctx, draft.Name()); err != nil {
		return err
	}
	err = draft.Publish()
	if errors.Is(err, fs.ErrExist) {
		return errors.New("it exists already")
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
	backup, err := source.NewBackup(sqliteDSN(to, "rw"))
	if err != nil {
		return err
	}
	for more := true; more && err == nil; {
		if more, err = backup.Step(1000); err == nil { // some 4 MB
			err = ctx.Err()
		}
	}
	// If a step has failed, so does this, with the same error or none at all.
	if finishErr := backup.Finish(); err == nil {
		err = finishErr
	}
	var failure *sqlite.Error
	if errors.As(err, &failure) { // whose message is of another connection, where nothing is wrong
		err = fmt.Errorf("%s (%d)", sqlite.ErrorCodeString[failure.Code()&0xff], failure.Code())
	}
	return err
}

// checkCopy reads all of a copy: a backup that is damaged is worse than none.
func checkCopy(ctx context.Context, file string) (err error) {
	db, err := sql.Open("sqlite", sqliteDSN(file, "rw"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	problem, err := damage(ctx, db)
	if err == nil && problem != "" {
		err = errors.New("the copy is damaged: " + problem)
	}
	return err
}
