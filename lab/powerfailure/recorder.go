//go:build unix

package powerfailure

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Recorder records what this process does to its SQLite files.
type Recorder struct {
	dir         string
	withoutSync bool
	original    uintptr // the VFS that is wrapped

	mu       sync.Mutex
	file     *os.File
	buffer   []byte
	sequence uint64 // of the last record
	err      error
	files    map[uintptr]openFile // by SQLite's pointer to the file
	methods  map[uintptr]uintptr  // those which record, by SQLite's own ones
}

// openFile is a file that SQLite has open.
type openFile struct {
	inode   inode
	methods uintptr // SQLite's own, which do not record
}

// current is the recorder of this process. It is nil until there is one.
var current atomic.Pointer[Recorder]

// Record makes SQLite record in a directory, which must exist, what this process does to
// its databases. It is called once, before the first of them is opened. It wraps
// SQLite's default VFS and makes the result the default, so it does not matter how they
// are opened.
//
// SQLite's operations fail with SQLITE_IOERR if they cannot be recorded; [Recorder.Err]
// says why.
func Record(dir string) (*Recorder, error) { return record(dir, false) }

// RecordWithoutSync does the same in a program that does not sync: neither SQLite nor
// [Recorder.Sync] do anything when they should. A test that does not fail then cannot
// fail at all.
func RecordWithoutSync(dir string) (*Recorder, error) { return record(dir, true) }

func record(dir string, withoutSync bool) (*Recorder, error) {
	r, err := newRecorder(dir)
	if err != nil {
		return nil, err
	}
	r.withoutSync = withoutSync
	if !current.CompareAndSwap(nil, r) {
		return nil, errors.Join(errors.New("this process records already"), r.file.Close(), os.Remove(r.file.Name()))
	}
	if err := r.register(); err != nil {
		return nil, err
	}
	return r, nil
}

// newRecorder returns a recorder of which SQLite does not know.
func newRecorder(dir string) (*Recorder, error) {
	file, err := os.CreateTemp(dir, recordingPattern)
	if err != nil {
		return nil, err
	}
	return &Recorder{dir: dir, file: file, files: map[uintptr]openFile{}, methods: map[uintptr]uintptr{}}, nil
}

// Err returns the first error in recording. After it nothing is recorded, and SQLite's
// operations fail.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Sync syncs a file of a database that the program syncs by itself, not through SQLite,
// and records that.
func (r *Recorder) Sync(f *os.File) error {
	if r.withoutSync {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	begin := Now()
	if err := f.Sync(); err != nil {
		return err
	}
	return r.synced(inodeOf(info.Sys().(*syscall.Stat_t)), begin)
}

// synced records a sync that has just ended. If the process is killed before, the sync
// counts as not done, as nobody was told of it.
func (r *Recorder) synced(file inode, begin int64) error {
	_, err := r.append(header{Kind: synced, Inode: file, Begin: begin, Value: Now()}, nil)
	return err
}

// Now returns the clock of the recordings, in nanoseconds. It is the same for all
// processes of a machine until it restarts.
func Now() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(fmt.Sprintf("powerfailure: reading the clock: %v", err)) // no Unix is without it
	}
	return now.Nano()
}

// append writes a record, and returns its sequence number unless the header has one. The
// record is with the system when append returns, so that it survives the process.
func (r *Recorder) append(h header, data []byte) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return 0, r.err
	}
	if h.Sequence == 0 {
		r.sequence++
		h.Sequence = r.sequence
	}
	h.Length = uint32(len(data))
	r.buffer, r.err = binary.Append(r.buffer[:0], binary.LittleEndian, h)
	if r.err == nil {
		r.buffer = append(r.buffer, data...)
		_, r.err = r.file.Write(r.buffer)
	}
	return h.Sequence, r.err
}

// opened records that SQLite has opened a file, and saves what is in it if it is the
// first to do so. Nobody can have written to it through SQLite then.
func (r *Recorder) opened(descriptor int, path string) (inode, error) {
	begin := Now()
	var stat syscall.Stat_t
	if err := syscall.Fstat(descriptor, &stat); err != nil {
		return inode{}, fmt.Errorf("fstat %s: %w", path, err)
	}
	file := inodeOf(&stat)
	// To open the file once more and close it would release SQLite's locks.
	content := io.NewSectionReader(readerAt(descriptor), 0, math.MaxInt64)
	if err := saveBase(r.dir, file, content); err != nil {
		return inode{}, fmt.Errorf("copying %s: %w", path, err)
	}
	_, err := r.append(header{Kind: opened, Inode: file, Begin: begin, Value: stat.Size}, []byte(path))
	return file, err
}

// saveBase makes the base of a file, unless there is one. Nobody sees half of it.
func saveBase(dir string, file inode, content io.Reader) error {
	path := file.base(dir)
	if _, err := os.Lstat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	draft, err := os.CreateTemp(dir, draftPattern)
	if err != nil {
		return err
	}
	_, err = io.Copy(draft, content)
	if err := errors.Join(err, draft.Close()); err != nil {
		return errors.Join(err, os.Remove(draft.Name()))
	}
	if err = os.Link(draft.Name(), path); errors.Is(err, fs.ErrExist) { // another process was faster
		err = nil
	}
	return errors.Join(err, os.Remove(draft.Name()))
}

// readerAt is a file descriptor to read from.
type readerAt int

func (r readerAt) ReadAt(p []byte, offset int64) (int, error) {
	for n := 0; ; {
		m, err := unix.Pread(int(r), p[n:], offset+int64(n))
		n += max(m, 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || n == len(p):
			return n, err
		case m == 0:
			return n, io.EOF
		}
	}
}

// removeRecordings removes all that is in the directory of the recordings.
func removeRecordings(dir string) error {
	var errs []error
	for _, pattern := range []string{recordingPattern, draftPattern, basePattern} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		errs = append(errs, err)
		for _, path := range paths {
			errs = append(errs, os.Remove(path))
		}
	}
	return errors.Join(errs...)
}
