package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modernc.org/sqlite" // also the driver "sqlite"
	sqlitelib "modernc.org/sqlite/lib"
)

// Problem says why a file cannot be used as a database.
type Problem struct {
	// Text completes a sentence that begins with the name of the file: "is empty".
	Text string
	Err  error // the cause; nil if there is none
}

func (p *Problem) Error() string { return "it " + p.Text }
func (p *Problem) Unwrap() error { return p.Err }

// Find reports whether there is a database at a path, which must have been
// resolved. It returns a [*Problem] for what SQLite would silently take for a new
// database, losing what was in the old one: an empty file, or a missing file whose
// write-ahead log is still there and would be replayed into the new one. It also
// refuses anything that is not a regular file.
func Find(path string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		// A process that only reads can leave an empty log behind.
		if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
			return false, &Problem{Text: fmt.Sprintf("is missing, but %s-wal is there and holds its latest changes: restore the file, or delete the -wal file as well to start a new one", filepath.Base(path))}
		}
		return false, nil
	}
	switch {
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, &Problem{Text: "is not a regular file"}
	case info.Size() == 0:
		return false, &Problem{Text: "is empty: restore it, or delete it and the -wal file beside it to start a new one"}
	}
	return true, nil
}

// Check reads a whole database. It returns a [*Problem] if it is damaged.
func Check(ctx context.Context, db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}) error {
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
		return err
	}
	if verdict == "ok" {
		return nil
	}
	verdict = strings.TrimPrefix(verdict, "*** in database main ***")
	return &Problem{Text: "is damaged: " + strings.Join(strings.Fields(verdict), " ")}
}

// OpenRead opens a database for reading only, also where nothing can be written: there
// SQLite cannot read a file that was made for a write-ahead log, unless it is told that
// nobody changes it. A log beside such a file may be in use, or hold what the file lacks, so
// then OpenRead returns SQLite's error.
func OpenRead(ctx context.Context, file string) (*sql.DB, error) {
	pragmas := map[string]string{"query_only": "1", "busy_timeout": "5000", "trusted_schema": "0"} // milliseconds
	open := func(dsn string) (*sql.DB, error) {
		db, err := sql.Open("sqlite", dsn)
		if err != nil {
			return nil, err
		}
		var any int
		err = db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sqlite_schema)`).Scan(&any)
		if err != nil {
			return nil, errors.Join(err, db.Close())
		}
		return db, nil
	}
	db, err := open(DSN(file, "rw", pragmas))
	var failed *sqlite.Error
	if !errors.As(err, &failed) || failed.Code()&0xff != sqlitelib.SQLITE_CANTOPEN && failed.Code()&0xff != sqlitelib.SQLITE_READONLY {
		return db, err
	}
	path, resolved := Resolve(file)
	if resolved != nil {
		return nil, err
	}
	for _, ending := range besides {
		if _, beside := os.Lstat(path + ending); !errors.Is(beside, fs.ErrNotExist) {
			return nil, err
		}
	}
	return open(DSN(path, "ro", pragmas) + "&immutable=1")
}

// DSN returns the data source name of a database for the driver "sqlite". The mode
// is SQLite's: rw, ro or memory. Pragmas are set on each connection; a later one
// overrides an earlier one of the same name.
func DSN(name, mode string, pragmas ...map[string]string) string {
	all := map[string]string{}
	for _, more := range pragmas {
		maps.Copy(all, more)
	}
	query := url.Values{"mode": {mode}, "_time_format": {"sqlite"}}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		query.Add("_pragma", name+"="+all[name])
	}
	return "file:" + (&url.URL{Path: filepath.ToSlash(name)}).EscapedPath() + "?" + query.Encode()
}

// Immediate, appended to a [DSN], makes transactions take the write lock when they
// begin, so that what they have read stays true until they write.
const Immediate = "&_txlock=immediate"

// Reason returns an error's text without the path in it, for messages that already
// name the file.
func Reason(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}
