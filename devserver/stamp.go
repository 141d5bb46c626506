package devserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"example.com/coffee/internal/sqlitefile"
)

// stampTable is the table with the [Stamp], which createStamp makes. It is not Temporal's.
const (
	stampTable  = "devserver_stamp"
	createStamp = `CREATE TABLE devserver_stamp (server_version TEXT NOT NULL, cluster_id TEXT NOT NULL)`
)

// Causes of a [*DatabaseError], for [errors.Is].
var (
	// ErrOlderDatabase: an older server made the database, and it may not be upgraded.
	ErrOlderDatabase = errors.New("the database is that of an older server")
	// ErrNewerDatabase: a newer server made the database.
	ErrNewerDatabase = errors.New("the database is that of a newer server")
	// ErrForeignDatabase: another program made the database.
	ErrForeignDatabase = errors.New("the database is that of another program")
	// ErrUnknownSchema: the database has tables or columns that this server does not
	// know.
	ErrUnknownSchema = errors.New("the database has tables or columns that this server does not know")
)

// Stamp is what a server's database records about itself.
type Stamp struct {
	// ServerVersion is the version of the Temporal server that made it.
	ServerVersion string
	// ClusterID is a UUID, the same as in the server's answer to
	// GetClusterInfo.
	ClusterID string
}

// ReadStamp reads the stamp of a database, which a server may have open. It
// returns a [*DatabaseError] if the file is not the database of a server. The file can
// be from anywhere: what is returned is short and printable.
func ReadStamp(ctx context.Context, file string) (Stamp, error) { return readStamp(ctx, file, 0) }

// readStamp reads the stamp. If the file is not larger than check, in bytes, it first reads
// the whole file, to find damage.
func readStamp(ctx context.Context, file string, check int64) (stamp Stamp, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return Stamp{}, unusable(file, "opened", err)
	}
	err = reading(ctx, file, func(db *sql.DB) (err error) {
		if info.Size() <= check {
			if err := sqlitefile.Check(ctx, db); err != nil {
				return err
			}
		}
		ctx, cancel := context.WithTimeout(ctx, stampTime)
		defer cancel()
		stamp, err = queryStamp(ctx, db)
		return err
	})
	return stamp, err
}

// reading opens the database in a file, which can be from anywhere, until do returns. Its
// error is a [*DatabaseError].
func reading(ctx context.Context, file string, do func(*sql.DB) error) error {
	db, err := sqlitefile.OpenRead(ctx, file)
	if err == nil {
		err = errors.Join(do(db), db.Close())
	}
	if err != nil {
		return unusable(file, "read", err)
	}
	return nil
}

// stampTime is how long reading a few words may take from a file that is from anywhere.
const stampTime = 10 * time.Second

// stampText is what a version and a cluster id look like.
var stampText = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$`)

// queryStamp reads the stamp of a database that anybody can have made. Something else by
// the table's name, such as a view, could take any time and memory, and so could a long
// value. It returns [ErrForeignDatabase] if there is no stamp.
func queryStamp(ctx context.Context, db *sql.DB) (Stamp, error) {
	var genuine bool
	err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = $1 AND sql = $2)`, stampTable, createStamp).Scan(&genuine)
	if err != nil {
		return Stamp{}, err
	}
	if !genuine {
		return Stamp{}, &sqlitefile.Problem{Text: "was not made by this program", Err: ErrForeignDatabase}
	}
	var stamp Stamp
	err = db.QueryRowContext(ctx, `SELECT server_version, cluster_id FROM `+stampTable+` WHERE octet_length(server_version) <= 64 AND octet_length(cluster_id) <= 64 LIMIT 1`).Scan(&stamp.ServerVersion, &stamp.ClusterID)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !(stampText.MatchString(stamp.ServerVersion) && stampText.MatchString(stamp.ClusterID)) {
		return Stamp{}, &sqlitefile.Problem{Text: "does not say which server made it: its stamp was changed"}
	}
	return stamp, err
}

// ReadNamespaces returns the names of the namespaces in a server's database, sorted, except
// Temporal's own and those that no client can name.
func ReadNamespaces(ctx context.Context, file string) (names []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, stampTime)
	defer cancel()
	err = reading(ctx, file, func(db *sql.DB) error {
		return eachRow(ctx, db, `SELECT name FROM namespaces WHERE name <> 'temporal-system' AND name NOT GLOB '*[^ -~]*' AND octet_length(name) <= 1000 LIMIT 10000`, func(scan scanner) error {
			var name string
			err := scan(&name)
			names = append(names, name)
			return err
		})
	})
	slices.Sort(names)
	return names, err
}

type scanner func(into ...any) error

// eachRow calls do for each row that a query finds.
func eachRow(ctx context.Context, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, query string, do func(scanner) error) (err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := do(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// openSQLite opens the file of a database that no server has open. A backup may be
// reading it.
func openSQLite(file string) (*sql.DB, error) {
	pragmas := map[string]string{"synchronous": "full", "busy_timeout": "5000"} // milliseconds
	return sql.Open("sqlite", sqlitefile.DSN(file, "rw", pragmas)+sqlitefile.Immediate)
}

// withSQLite opens such a file, and closes it when do returns.
func withSQLite(file string, do func(*sql.DB) error) error {
	db, err := openSQLite(file)
	if err != nil {
		return err
	}
	return errors.Join(do(db), db.Close())
}

// LockedError reports that another server has the database open.
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

// DatabaseError reports that a file cannot be used as the database. What was in the
// file has not been changed, unless the problem is that it cannot be set up.
type DatabaseError struct {
	File    string
	Problem string
	cause   error
}

func (e *DatabaseError) Error() string { return fmt.Sprintf("database %s %s", e.File, e.Problem) }
func (e *DatabaseError) Unwrap() error { return e.cause }

// unusable returns a [*DatabaseError] for an error that does not name the file.
// done is what failed: "opened", "created" or "read".
func unusable(file, done string, err error) error {
	var problem *sqlitefile.Problem
	if errors.As(err, &problem) {
		return &DatabaseError{File: file, Problem: problem.Text, cause: err}
	}
	return &DatabaseError{File: file, Problem: "cannot be " + done + ": " + sqlitefile.Reason(err), cause: err}
}
