package devserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
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
	_ "modernc.org/sqlite" // the driver "sqlite"
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

// database is a file that this process has locked.
type database struct {
	lock *flock.Flock
	id   identity
}

// openDatabase locks the file, creates it if there is none, and checks that
// this version of the server can use it. It returns a [*LockedError] or a
// [*DatabaseError].
func openDatabase(ctx context.Context, file string) (*database, error) {
	absolute, err := filepath.Abs(file)
	if err != nil {
		return nil, &DatabaseError{File: file, Problem: "has no absolute path: " + err.Error(), cause: err}
	}
	lock, err := lockFile(absolute)
	if err != nil {
		return nil, err
	}
	clusterID, err := prepare(ctx, absolute)
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return &database{lock: lock, id: identity{ClusterID: clusterID, DatabaseName: absolute}}, nil
}

// close releases the lock. The lock file stays: to remove it would let two
// processes hold locks on two files of the same name.
func (d *database) close() error { return d.lock.Unlock() }

// lockFile makes sure that one server at most uses the file. The lock is the
// operating system's: a process that dies, however it dies, releases it.
func lockFile(file string) (*flock.Flock, error) {
	path := file + ".lock"
	lock := flock.New(path, flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, &DatabaseError{File: file, Problem: "cannot be locked: " + describe(err), cause: err}
	}
	if !locked {
		holder, _ := os.ReadFile(path) // who holds it is nice to know, no more
		pid, _ := strconv.Atoi(strings.TrimSpace(string(holder)))
		return nil, &LockedError{File: file, PID: pid}
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return nil, errors.Join(&DatabaseError{File: file, Problem: "cannot be locked: " + describe(err), cause: err}, lock.Unlock())
	}
	return lock, nil
}

// prepare returns the cluster id of the database, after it has created one if
// there is no such file. The file must be locked.
func prepare(ctx context.Context, file string) (clusterID string, err error) {
	fail := func(problem string, err error) (string, error) {
		return "", &DatabaseError{File: file, Problem: problem, cause: err}
	}
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		// SQLite would replay it into the new file.
		if _, err := os.Stat(file + "-wal"); err == nil {
			return fail(fmt.Sprintf("is gone, but %s-wal is there, with the last of what was in it: restore it, or delete that one as well to begin a new one", file), nil)
		}
		clusterID, err := createDatabase(ctx, file)
		if err != nil {
			return fail("cannot be created: "+describe(err), err)
		}
		return clusterID, nil
	}
	if err != nil {
		return fail("cannot be opened: "+describe(err), err)
	}
	if info.Size() == 0 {
		// SQLite would make a new database of it, and what was in the old one
		// would be forgotten without a word.
		return fail("is empty: restore it, or delete it, and the file -wal beside it, to begin a new one", nil)
	}
	stamp, err := readStamp(ctx, file, info.Size() <= checkedSize)
	if err != nil {
		return "", err
	}
	if stamp.ServerVersion != ServerVersion {
		return fail(fmt.Sprintf("was written by Temporal server %s, and this one is %s", stamp.ServerVersion, ServerVersion), nil)
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

// createDatabase makes a database under another name, and gives it its name
// when it is complete: a crash leaves all of it or nothing.
func createDatabase(ctx context.Context, file string) (clusterID string, err error) {
	created, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".new-*") // readable by its owner alone
	if err != nil {
		return "", err
	}
	name := created.Name()
	defer func() {
		if err != nil {
			os.Remove(name)
		}
	}()
	if err := created.Close(); err != nil {
		return "", err
	}
	db, err := openSQLite(name)
	if err != nil {
		return "", err
	}
	clusterID, err = createSchema(ctx, db)
	if err := errors.Join(err, db.Close()); err != nil {
		return "", err
	}
	return clusterID, os.Rename(name, file)
}

func openSQLite(file string) (*sql.DB, error) {
	return sql.Open("sqlite", sqliteDSN(file, "rw", map[string]string{"synchronous": "full"})+"&_txlock=immediate")
}

// createSchema sets up a new database, and stamps it with the server's version
// and a new cluster id.
func createSchema(ctx context.Context, db *sql.DB) (clusterID string, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := setupSchema(ctx, tx); err != nil {
		return "", err
	}
	clusterID = uuid.NewString()
	if _, err := tx.ExecContext(ctx, `CREATE TABLE devserver_stamp (server_version TEXT NOT NULL, cluster_id TEXT NOT NULL)`); err != nil {
		return "", err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO devserver_stamp VALUES ($1, $2)`, ServerVersion, clusterID); err != nil {
		return "", err
	}
	return clusterID, tx.Commit()
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
