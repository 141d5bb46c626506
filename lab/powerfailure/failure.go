//go:build unix

package powerfailure

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// Loss says what a power failure did.
type Loss struct {
	// Files is how many files were rebuilt: databases, write-ahead logs and journals.
	Files int
	// Lost, Kept and Torn count the writes and truncations that were not synced. Of a
	// torn write some sectors are there.
	Lost, Kept, Torn int
	// Late counts the writes and truncations that began after the power failure.
	Late int
}

// Fail makes databases, with their write-ahead logs and journals, as a power failure at
// a moment, by the clock of [Now], may have left them. What SQLite had told a process by
// then to be durable is there. If one of the files was created, deleted or renamed later,
// the power fails when the recordings end.
//
// All processes that have recorded must have ended. A database that does not exist is
// left out, and a file that nobody has opened since the recordings began stays as it is.
// The recordings of all files begin anew.
//
// Fail returns an error, and has not changed anything, if the recordings do not add up to
// a file as it is. After any other error the files must not be used.
func Fail(recordings string, at int64, rng *rand.Rand, databases ...string) (Loss, error) {
	databases, err := resolve(databases)
	if err != nil {
		return Loss{}, err
	}
	contents, loss, err := imagine(recordings, at, rng, databases)
	if err != nil {
		return Loss{}, err
	}
	// A file stays the same file for those who know it by its other names.
	for path, content := range contents {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return Loss{}, err
		}
	}
	for _, database := range databases {
		if err := os.Remove(database + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Loss{}, err
		}
	}
	return loss, restart(recordings, contents)
}

// resolve returns the paths of the databases that exist as SQLite knows them, which
// follows links.
func resolve(databases []string) ([]string, error) {
	var paths []string
	for _, database := range databases {
		path, err := filepath.EvalSymlinks(database)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// imagine returns what a power failure leaves in each file, by its path, and changes
// nothing. The paths of the databases are resolved.
func imagine(recordings string, at int64, rng *rand.Rand, databases []string) (_ map[string][]byte, _ Loss, err error) {
	events, err := readEvents(recordings)
	if err != nil {
		return nil, Loss{}, err
	}
	defer func() { err = errors.Join(err, events.close()) }()
	files, err := events.find(databases)
	if err != nil {
		return nil, Loss{}, err
	}
	if events.changed > at {
		at = math.MaxInt64
	}
	for _, file := range files {
		if first, ok := events.names[file]; !ok || first > at {
			at = math.MaxInt64
		}
	}
	contents, loss := map[string][]byte{}, Loss{Files: len(files)}
	for _, file := range files {
		if err := events.verify(file); err != nil {
			return nil, Loss{}, err
		}
		history, err := events.history(file.inode, at)
		if err != nil {
			return nil, Loss{}, err
		}
		if contents[file.path], err = history.fail(rng, &loss); err != nil {
			return nil, Loss{}, err
		}
	}
	return contents, loss, nil
}

// find returns the files of databases that were recorded, in a fixed order.
func (e *events) find(databases []string) ([]name, error) {
	var files []name
	for _, database := range databases {
		for _, ending := range []string{"", "-wal", "-journal"} {
			path := database + ending
			info, err := os.Stat(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			inode := inodeOf(info.Sys().(*syscall.Stat_t))
			h, err := e.history(inode, math.MaxInt64)
			if errors.Is(err, fs.ErrNotExist) { // nobody has opened it
				continue
			}
			if err != nil {
				return nil, err
			}
			// A process was killed before it could record that it had created the file, which
			// has the number of a deleted one.
			if info.Size() == 0 && h.sizeAt(math.MaxInt64) > 0 {
				continue
			}
			files = append(files, name{inode, path})
		}
	}
	return files, nil
}

// verify returns an error if the recordings of a file do not add up to what is in it.
func (e *events) verify(file name) error {
	actual, err := os.ReadFile(file.path)
	if err != nil {
		return err
	}
	h, err := e.history(file.inode, math.MaxInt64)
	if err != nil {
		return err
	}
	content := image(h.base)
	for _, o := range h.operations {
		switch {
		case o.pending && o.Kind == truncated: // it may have been done or not
			size := min(o.Value, int64(len(content)), int64(len(actual)))
			content = append(content[:size], actual[size:]...)
		case o.pending: // any part of it may have been done
			begin := min(o.Value, int64(len(actual)))
			end := min(o.Value+int64(o.Length), int64(len(actual)))
			content.write(actual[begin:end], begin)
		default:
			if err := content.apply(&o); err != nil {
				return err
			}
		}
	}
	if !bytes.Equal(content, actual) {
		return fmt.Errorf("the recordings do not add up to %s: a process that does not record has changed it", file.path)
	}
	return nil
}

// restart begins the recordings anew.
func restart(recordings string, contents map[string][]byte) (err error) {
	if err := removeRecordings(recordings); err != nil {
		return err
	}
	r, err := newRecorder(recordings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.file.Close()) }()
	for path, content := range contents {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		inode := inodeOf(info.Sys().(*syscall.Stat_t))
		if err := saveBase(recordings, inode, bytes.NewReader(content)); err != nil {
			return err
		}
		h := header{Kind: opened, Inode: inode, Begin: Now(), Value: int64(len(content))}
		if _, err := r.append(h, []byte(path)); err != nil {
			return err
		}
	}
	return nil
}
