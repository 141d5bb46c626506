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
func ReadStamp(ctx context.Context, file string) (Stamp, error) {
	if _, err := os.Stat(file); err != nil {
		return Stamp{}, unusable(file, "opened", err)
	}
	return readStamp(ctx, file, false)
}

// readStamp reads the stamp. If check is true it first reads the whole file, to
// find damage.
func readStamp(ctx context.Context, file string, check bool) (stamp Stamp, err error) {
	db, err := sqlitefile.OpenRead(ctx, file)
	if err != nil {
		return Stamp{}, unusable(file, "read", err)
	}
	defer func() {
		if closeErr := db.Close(); err == nil && closeErr != nil {
			stamp, err = Stamp{}, unusable(file, "closed", closeErr)
		}
	}()
	if check {
		if err := sqlitefile.Check(ctx, db); err != nil {
			return Stamp{}, unusable(file, "read", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, stampTime)
	defer cancel()
	stamp, err = queryStamp(ctx, db)
	switch {
	case errors.Is(err, ErrForeignDatabase):
		return Stamp{}, &DatabaseError{File: file, Problem: "was not made by this program", cause: err}
	case err != nil:
		return Stamp{}, unusable(file, "read", err)
	}
	return stamp, nil
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
		return Stamp{}, ErrForeignDatabase
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
	db, err := sqlitefile.OpenRead(ctx, file)
	if err != nil {
		return nil, unusable(file, "read", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, stampTime)
	defer cancel()
	rows, err := db.QueryContext(ctx, `SELECT name FROM namespaces WHERE name <> 'temporal-system' AND name NOT GLOB '*[^ -~]*' AND octet_length(name) <= 1000 LIMIT 10000`)
	if err != nil {
		return nil, unusable(file, "read", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, unusable(file, "read", err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, rows.Err()
}

// openSQLite opens the file of a database that no server has open. A backup may be
// reading it.
func openSQLite(file string) (*sql.DB, error) {
	pragmas := map[string]string{"synchronous": "full", "busy_timeout": "5000"} // milliseconds
	return sql.Open("sqlite", sqlitefile.DSN(file, "rw", pragmas)+sqlitefile.Immediate)
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
// done is what failed: "opened", "created", "read" or "closed".
func unusable(file, done string, err error) error {
	var problem *sqlitefile.Problem
	if errors.As(err, &problem) {
		return &DatabaseError{File: file, Problem: problem.Text, cause: err}
	}
	return &DatabaseError{File: file, Problem: "cannot be " + done + ": " + sqlitefile.Reason(err), cause: err}
}
