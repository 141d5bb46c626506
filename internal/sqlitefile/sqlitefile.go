// Package sqlitefile handles the files of the server's database and of the ledger.
// It resolves the name of a file (this file), keeps a file to one process
// (hold.go), creates a file whole or not at all (draft.go), refuses what is not a
// database (database.go), and copies a database in use (snapshot.go).
package sqlitefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// Resolve returns the absolute path of a file, without symbolic links. The
// directory of the file must exist. The file need not: a link to a file that does
// not exist yet stands for that file. SQLite resolves links too when it names the
// files that it puts beside a database.
func Resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for range 40 { // as many links in a row as Linux follows
		resolved, err := filepath.EvalSymlinks(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return resolved, err
		}
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		target, err := os.Readlink(path)
		if err != nil { // it is not a link
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return "", errors.New("too many levels of symbolic links")
}

// CheckName returns an error for a name that is hardly meant as that of a file: SQLite, and
// what is told of SQLite, gives it another meaning. The error follows the name in a sentence.
func CheckName(name string) error {
	switch {
	case !utf8.ValidString(name):
		return errors.New("is not valid UTF-8: rename the file")
	case name == ":memory:":
		return errors.New("is SQLite's name for a database in memory: name a file, or ./:memory: if you mean one of that name")
	case strings.HasPrefix(name, "file:"):
		return errors.New("is a URI: name the file itself, or put ./ before it if it is called that")
	}
	return nil
}

// CheckNames returns an error if a file has more than one name. SQLite finds a
// database's log by the database's name. What was written under one name would be
// lost under another, and what is then written there no longer matches the log
// (https://www.sqlite.org/howtocorrupt.html, 2.5).
func CheckNames(path string) error {
	for range 20 {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if links(info) <= 1 {
			return nil
		}
		time.Sleep(50 * time.Millisecond) // it may be about to be published, see linkNew
	}
	return errors.New("it has more than one name (a hard link), but SQLite's log belongs to only one of them: remove the other names")
}
