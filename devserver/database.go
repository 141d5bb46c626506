package devserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
	"github.com/google/uuid"
	"go.temporal.io/server/common/headers"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/schema/sqlite"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"example.com/coffee/internal/sqlitefile"
)

// ServerVersion is the version of the Temporal server that is built in.
const ServerVersion = headers.ServerVersion

// LockedError says that another server has the database open.
type LockedError struct {
	File string
	PID  int // 0 if unknown
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("database %s is in use by another server", e.File)
	}
	return fmt.Sprintf("database %s is in use by another server, process %d", e.File, e.PID)
}

// DatabaseError says that a file cannot serve as the database. The file has not
// been changed.
type DatabaseError struct {
	File    string
	Problem string
	cause   error
}

func (e *DatabaseError) Error() string { return fmt.Sprintf("database %s %s", e.File, e.Problem) }
func (e *DatabaseError) Unwrap() error { return e.cause }

// database is a file that this process has locked: its name, and the file itself,
// which may have others.
type database struct {
	lock *flock.Flock
	hold *sqlitefile.Hold
	id   identity
}

// openDatabase locks the file, creates it if there is none, and checks that
// this version of the server can use it. It returns a [*LockedError] or a
// [*DatabaseError].
func openDatabase(ctx context.Context, file string) (*database, error) {
	path, err := sqlitefile.Resolve(file)
	if err != nil {
		return nil, &DatabaseError{File: file, Problem: "cannot be opened: " + describe(err), cause: err}
	}
	lock, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	d := &database{lock: lock, id: identity{DatabaseName: path}}
	if err := d.open(ctx, path); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *database) open(ctx context.Context, path string) error {
	if err := createIfMissing(ctx, path); err != nil {
		return err
	}
	var err error
	d.hold, err = sqlitefile.Take(path)
	if errors.Is(err, sqlitefile.ErrHeld) {
		return &LockedError{File: path}
	}
	if err != nil {
		return &DatabaseError{File: path, Problem: "cannot be opened: " + describe(err), cause: err}
	}
	if err := sqlitefile.CheckNames(path); err != nil {
		return &DatabaseError{File: path, Problem: "cannot be used: " + err.Error(), cause: err}
	}
	d.id.ClusterID, err = check(ctx, path)
	return err
}

// close releases the locks; the database must be closed. The lock file stays: to
// remove it would let two processes hold locks on two files of the same name.
func (d *database) close() error {
	var err error
	if d.hold != nil {
		err = d.hold.Release()
	}
	return errors.Join(err, d.lock.Unlock())
}

// lockFile makes sure that one server at most uses the file, by this name. The
// lock is the operating system's: a process that dies, however it dies, releases
// it.
func lockFile(file string) (*flock.Flock, error) {
	path := file + ".lock"
	fail := func(problem string, cause error) (*flock.Flock, error) {
		return nil, &DatabaseError{File: file, Problem: "cannot be locked: " + problem, cause: cause}
	}
	// Whoever can write to the directory could have put something else in its
	// place: a link to another file, or something that waits when it is opened.
	lock := flock.New(path, flock.SetPermissions(0o600), flock.SetFlag(os.O_CREATE|os.O_RDWR|notThroughLinks))
	locked, err := lock.TryLock()
	if info, statErr := os.Lstat(path); statErr == nil && !info.Mode().IsRegular() {
		return fail(path+" is not a file of its own; remove it", errors.Join(err, lock.Unlock()))
	}
	if err != nil {
		return fail(describe(err), err)
	}
	if !locked {
		holder, _ := os.ReadFile(path) // who holds it is nice to know, no more
		pid, _ := strconv.Atoi(strings.TrimSpace(string(holder)))
		return nil, &LockedError{File: file, PID: pid}
	}
	if err := writePID(path); err != nil {
		return fail(describe(err), errors.Join(err, lock.Unlock()))
	}
	return lock, nil
}

// writePID says in the lock file who holds the lock.
func writePID(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC|notThroughLinks, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, os.Getpid())
	return errors.Join(err, file.Close())
}

// createIfMissing creates the database if there is none, and refuses what cannot be
// one. The file must be locked.
func createIfMissing(ctx context.Context, file string) error {
	fail := func(problem string, err error) error { return &DatabaseError{File: file, Problem: problem, cause: err} }
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		// SQLite would replay it into the new file. Who only reads leaves an empty one.
		if log, err := os.Stat(file + "-wal"); err == nil && log.Size() > 0 {
			return fail(fmt.Sprintf("is gone, but %s-wal is there, with the last of what was in it: restore it, or delete that one as well to begin a new one", file), nil)
		}
		if err := createDatabase(ctx, file); err != nil {
			return fail("cannot be created: "+describe(err), err)
		}
		return nil
	}
	if err != nil {
		return fail("cannot be opened: "+describe(err), err)
	}
	if !info.Mode().IsRegular() {
		return fail("is not a file", nil)
	}
	if info.Size() == 0 {
		// SQLite would make a new database of it, and what was in the old one
		// would be forgotten without a word.
		return fail("is empty: restore it, or delete it, and the file -wal beside it, to begin a new one", nil)
	}
	return nil
}

// check returns the cluster id of a database, if this version of the server can
// use it.
func check(ctx context.Context, file string) (clusterID string, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", &DatabaseError{File: file, Problem: "cannot be opened: " + describe(err), cause: err}
	}
	stamp, err := readStamp(ctx, file, info.Size() <= checkedSize)
	if err != nil {
		return "", err
	}
	if stamp.ServerVersion != ServerVersion {
		return "", &DatabaseError{File: file, Problem: fmt.Sprintf("was written by Temporal server %s, and this one is %s", stamp.ServerVersion, ServerVersion)}
	}
	return stamp.ClusterID, nil
}

// Stamp is what the database of a server says of itself.
type Stamp struct {
	// ServerVersion is the version of the Temporal server that made it.
	ServerVersion string
	// ClusterID is a UUID, the same as in the server's answer to
	// GetClusterInfo.
	ClusterID string
}

// ReadStamp reads the stamp of a database, which a server may have open. It
// returns a [*DatabaseError] if the file is not the database of a server.
func ReadStamp(ctx context.Context, file string) (Stamp, error) {
	if _, err := os.Stat(file); err != nil {
		return Stamp{}, &DatabaseError{File: file, Problem: "cannot be opened: " + describe(err), cause: err}
	}
	return readStamp(ctx, file, false)
}

// readStamp reads the stamp, after it has read all of the file if it is to be
// checked.
func readStamp(ctx context.Context, file string, check bool) (stamp Stamp, err error) {
	fail := func(problem string, err error) (Stamp, error) {
		return Stamp{}, &DatabaseError{File: file, Problem: problem, cause: err}
	}
	db, err := openSQLite(file)
	if err != nil {
		return fail("cannot be opened: "+err.Error(), err)
	}
	defer func() {
		if closeErr := db.Close(); err == nil && closeErr != nil {
			stamp, err = fail("cannot be closed: "+closeErr.Error(), closeErr)
		}
	}()
	if check {
		problem, err := damage(ctx, db)
		if err != nil {
			return fail("cannot be read: "+err.Error(), err)
		}
		if problem != "" {
			return fail("is damaged: "+problem, nil)
		}
	}
	err = db.QueryRowContext(ctx, `SELECT server_version, cluster_id FROM devserver_stamp`).Scan(&stamp.ServerVersion, &stamp.ClusterID)
	if err != nil {
		if strings.Contains(err.Error(), "no such table") {
			return fail("was not made by this program", err)
		}
		return fail("cannot be read: "+err.Error(), err)
	}
	return stamp, nil
}

// checkedSize is the size in bytes up to which a database is read whole before
// it is used, at some 400 MB a second. Of a larger one SQLite notices at once
// if it was truncated, and other damage when it meets it.
const checkedSize = 256 << 20

// damage says what is wrong with a database; empty if nothing is.
func damage(ctx context.Context, db *sql.DB) (problem string, err error) {
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&problem); err != nil || problem == "ok" {
		return "", err
	}
	problem = strings.TrimPrefix(problem, "*** in database main ***")
	return strings.Join(strings.Fields(problem), " "), nil
}

// createDatabase makes a database.
func createDatabase(ctx context.Context, file string) (err error) {
	draft, err := sqlitefile.NewDraft(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, draft.Close()) }()
	db, err := openSQLite(draft.Name())
	if err != nil {
		return err
	}
	if err := errors.Join(createSchema(ctx, db), db.Close()); err != nil {
		return err
	}
	return draft.Publish()
}

func openSQLite(file string) (*sql.DB, error) {
	return sql.Open("sqlite", sqliteDSN(file, "rw", map[string]string{"synchronous": "full"})+"&_txlock=immediate")
}

// createSchema sets up a new database, and stamps it with the server's version
// and a new cluster id.
func createSchema(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := setupSchema(ctx, tx); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `CREATE TABLE devserver_stamp (server_version TEXT NOT NULL, cluster_id TEXT NOT NULL)`); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO devserver_stamp VALUES ($1, $2)`, ServerVersion, uuid.NewString()); err != nil {
		return err
	}
	return tx.Commit()
}

// setupSchema creates Temporal's tables.
func setupSchema(ctx context.Context, tx *sql.Tx) error {
	return sqlite.SetupSchemaOnDB(schemaWriter{ctx: ctx, tx: tx})
}

// keptIndexes are the indexes of the visibility table that a new database has:
// those for the order of lists, for a workflow's id, its type and its status.
// Temporal's schema has more than fifty others, nearly all on search attributes
// that no workflow has, and writes to each of them several times for each
// workflow. A query by something else reads the namespace's workflows in the
// order of the list.
var keptIndexes = []string{"default_idx", "by_workflow_id", "by_workflow_type", "by_status"}

var createIndex = regexp.MustCompile(`^CREATE INDEX (\w+)\s+ON executions_visibility\b`)

// schemaWriter is as much of a [sqlplugin.AdminDB] as it takes to set up a
// schema.
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

// describe leaves out the path that the message names already.
func describe(err error) string {
	var pathError *os.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}
