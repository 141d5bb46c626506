//go:build !noserver

package devserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
	"github.com/google/uuid"
	"go.temporal.io/server/common/headers"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/schema/sqlite"

	"example.com/coffee/internal/sqlitefile"
)

// ServerVersion is the version of the Temporal server that is built in, or "" if
// there is none.
const ServerVersion = headers.ServerVersion

// database is a file that this process has locked: by its name, and as a file,
// which may have other names.
type database struct {
	lock *flock.Flock
	hold *sqlitefile.Hold
	id   identity
}

// openDatabase locks the file, creates it if it does not exist, and makes it one that
// this version of the server can use, if the options allow that. It returns a
// [*LockedError] or a [*DatabaseError].
func openDatabase(ctx context.Context, options Options) (*database, error) {
	file := options.DatabaseFile
	path, err := sqlitefile.Resolve(file)
	if err != nil {
		return nil, unusable(file, "opened", err)
	}
	lock, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	d := &database{lock: lock, id: identity{DatabaseName: path}}
	if err := d.open(ctx, path, options); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *database) open(ctx context.Context, path string, options Options) error {
	if err := createIfMissing(ctx, path); err != nil {
		return err
	}
	var err error
	d.hold, err = sqlitefile.Take(path)
	if errors.Is(err, sqlitefile.ErrHeld) {
		return &LockedError{File: path}
	}
	if err != nil {
		return unusable(path, "opened", err)
	}
	if err := sqlitefile.RemoveTwin(path, filepath.Base(path)+keptInfix); err != nil { // of an upgrade that was killed
		return unusable(path, "opened", err)
	}
	if err := sqlitefile.CheckNames(path); err != nil {
		return &DatabaseError{File: path, Problem: "cannot be used: " + err.Error(), cause: err}
	}
	stamp, err := readStamp(ctx, path, checkedSize)
	switch {
	case errors.Is(err, ErrForeignDatabase) && options.Adopt:
		stamp, err = adopt(ctx, path)
	case err == nil && stamp.ServerVersion != ServerVersion:
		err = refuse(path, stamp, options)
	}
	if err == nil && stamp.ServerVersion != ServerVersion {
		err = d.upgrade(ctx, path, stamp, options)
	}
	d.id.ClusterID = stamp.ClusterID
	return err
}

// close releases the locks. The database must be closed by then. The lock file
// stays, because removing it would let two processes lock two files of the same
// name.
func (d *database) close() error {
	var err error
	if d.hold != nil {
		err = d.hold.Release()
	}
	return errors.Join(err, d.lock.Unlock())
}

// lockFile makes sure that only one server uses the file by this name. The lock is
// the operating system's, so it is released however the process ends.
func lockFile(file string) (*flock.Flock, error) {
	path := file + ".lock"
	fail := func(problem string, cause error) (*flock.Flock, error) {
		return nil, &DatabaseError{File: file, Problem: "cannot be locked: " + problem, cause: cause}
	}
	// Anyone who can write to the directory could have put something else in its
	// place: a link to another file, or something that blocks when it is opened.
	lock := flock.New(path, flock.SetPermissions(0o600), flock.SetFlag(os.O_CREATE|os.O_RDWR|notThroughLinks))
	locked, err := lock.TryLock()
	if info, statErr := os.Lstat(path); statErr == nil && !info.Mode().IsRegular() {
		return fail(path+" is not a regular file; remove it", errors.Join(err, lock.Unlock()))
	}
	if err != nil {
		return fail(sqlitefile.Reason(err), err)
	}
	if !locked {
		holder, _ := os.ReadFile(path) // best effort: the error can do without it
		pid, _ := strconv.Atoi(strings.TrimSpace(string(holder)))
		return nil, &LockedError{File: file, PID: pid}
	}
	if err := writePID(path); err != nil {
		return fail(sqlitefile.Reason(err), errors.Join(err, lock.Unlock()))
	}
	return lock, nil
}

// writePID writes the id of this process to the lock file.
func writePID(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC|notThroughLinks, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, os.Getpid())
	return errors.Join(err, file.Close())
}

// createIfMissing creates the database if it does not exist, and refuses what
// cannot be one. The file must be locked.
func createIfMissing(ctx context.Context, file string) error {
	exists, err := sqlitefile.Find(file)
	if err != nil {
		return unusable(file, "opened", err)
	}
	if exists {
		return nil
	}
	err = sqlitefile.Create(file, func(draft string) error {
		return withSQLite(draft, func(db *sql.DB) error { return createSchema(ctx, db, uuid.NewString()) })
	})
	if err != nil {
		return unusable(file, "created", err)
	}
	return nil
}

// refuse returns a [*DatabaseError] if the database of another server may not be
// upgraded.
func refuse(file string, stamp Stamp, options Options) error {
	was := fmt.Sprintf("was written by Temporal server %s, but this server is %s", stamp.ServerVersion, ServerVersion)
	isNewer, err := newer(stamp)
	switch {
	case err != nil:
		return &DatabaseError{File: file, Problem: was, cause: err}
	case isNewer:
		return &DatabaseError{File: file, Problem: was, cause: ErrNewerDatabase}
	case options.NoUpgrade:
		return &DatabaseError{File: file, Problem: was, cause: ErrOlderDatabase}
	}
	return nil
}

// checkedSize is the size in bytes up to which a whole database is checked before
// it is used, at some 400 MB a second. In a larger one SQLite notices truncation
// at once, and other damage when it comes across it.
const checkedSize = 256 << 20

// createSchema sets up a new database, and stamps it with the server's version and
// the cluster id.
func createSchema(ctx context.Context, db *sql.DB, clusterID string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := setupSchema(ctx, tx); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, createStamp); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO `+stampTable+` VALUES ($1, $2)`, ServerVersion, clusterID); err != nil {
		return err
	}
	return tx.Commit()
}

// setupSchema creates Temporal's tables.
func setupSchema(ctx context.Context, tx *sql.Tx) error {
	return sqlite.SetupSchemaOnDB(schemaWriter{ctx: ctx, tx: tx})
}

// keptIndexes are the indexes of a new database's visibility table: for the order
// of lists, and for a workflow's id, type and status. Temporal's schema has more
// than fifty others, nearly all on search attributes that no workflow has, and
// writes to each of them several times per workflow. A query on anything else
// reads the namespace's workflows in the order of the list.
var keptIndexes = []string{"default_idx", "by_workflow_id", "by_workflow_type", "by_status"}

var createIndex = regexp.MustCompile(`^CREATE INDEX (\w+)\s+ON executions_visibility\b`)

// schemaWriter implements what setting up a schema needs of [sqlplugin.AdminDB].
type schemaWriter struct {
	sqlplugin.AdminDB
	ctx context.Context
	tx  *sql.Tx
}

func (w schemaWriter) Exec(stmt string, args ...any) error {
	if index := createIndex.FindStringSubmatch(stmt); index != nil && !slices.Contains(keptIndexes, index[1]) {
		return nil
	}
	_, err := w.tx.ExecContext(w.ctx, stmt, args...)
	return err
}
