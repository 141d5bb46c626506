// Package sqlitefile is what the server's database and the ledger have in common as
// files: which file a name stands for (this file), that one process at most uses it
// (hold.go), that it is made whole or not at all (draft.go), what is refused as a
// database (database.go), and how a database in use is copied (snapshot.go).
package sqlitefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Resolve returns the absolute path of a file, without symbolic links. The file
// need not exist, its directory must: a link to a file that does not exist yet
// stands for that file. SQLite, too, names the files that it puts beside a database
// after where its links lead.
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
		if err != nil { // it is no link
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return "", errors.New("too many levels of symbolic links")
}

// CheckNames returns an error if a file has more than one name. SQLite keeps its log
// beside a database, by name: what was written under one name would be lost under
// another one, and what is written then is no longer what the log belongs to
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
	return errors.New("it has more than one name (a hard link), and SQLite's log would belong to one of them: leave it one name")
}
