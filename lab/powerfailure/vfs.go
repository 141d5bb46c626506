//go:build unix

package powerfailure

import (
	"errors"
	"fmt"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// The signatures of SQLite's methods.
type (
	openMethod     = func(tls *libc.TLS, vfs, path, file uintptr, flags int32, outFlags uintptr) int32
	deleteMethod   = func(tls *libc.TLS, vfs, path uintptr, syncDirectory int32) int32
	closeMethod    = func(tls *libc.TLS, file uintptr) int32
	writeMethod    = func(tls *libc.TLS, file, buffer uintptr, length int32, offset int64) int32
	truncateMethod = func(tls *libc.TLS, file uintptr, size int64) int32
	syncMethod     = func(tls *libc.TLS, file uintptr, flags int32) int32
)

// recordedFiles are the kinds of files that are recorded. The others are temporary, or
// the index of a write-ahead log, which SQLite makes anew after a power failure; or
// super-journals, which there are only for transactions on several databases with
// rollback journals.
const recordedFiles = sqlite3.SQLITE_OPEN_MAIN_DB | sqlite3.SQLITE_OPEN_WAL | sqlite3.SQLITE_OPEN_MAIN_JOURNAL

// register makes SQLite use the recorder.
func (r *Recorder) register() error {
	tls := libc.NewTLS()
	defer tls.Close()
	r.original = sqlite3.Xsqlite3_vfs_find(tls, 0)
	if r.original == 0 {
		return errors.New("SQLite has no default VFS")
	}
	name, err := libc.CString("powerfailure")
	if err != nil {
		return err
	}
	copied, err := clone[sqlite3.Tsqlite3_vfs](tls, r.original)
	if err != nil {
		return err
	}
	vfs := pointee[sqlite3.Tsqlite3_vfs](copied)
	vfs.FzName = name
	vfs.FxOpen = pointer[openMethod](xOpen)
	vfs.FxDelete = pointer[deleteMethod](xDelete)
	if code := sqlite3.Xsqlite3_vfs_register(tls, copied, 1); code != sqlite3.SQLITE_OK {
		return fmt.Errorf("registering the VFS: SQLite's error %d", code)
	}
	return nil
}

// pointee returns what SQLite's pointer points to, which the garbage collector does not
// know.
func pointee[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// clone copies what SQLite's pointer points to. The copy stays until the process ends.
func clone[T any](tls *libc.TLS, p uintptr) (uintptr, error) {
	original := pointee[T](p)
	copied := sqlite3.Xsqlite3_malloc(tls, int32(unsafe.Sizeof(*original)))
	if copied == 0 {
		return 0, errors.New("SQLite is out of memory")
	}
	*pointee[T](copied) = *original
	return copied, nil
}

// pointer returns the pointer to a function that the translated SQLite calls. It is Go's
// own representation of a function. This must not be a closure, which the garbage
// collector could free.
func pointer[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }

// function is the inverse of [pointer].
func function[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&p)) }

func xOpen(tls *libc.TLS, _, path, file uintptr, flags int32, outFlags uintptr) int32 {
	r := current.Load()
	original := pointee[sqlite3.Tsqlite3_vfs](r.original)
	code := function[openMethod](original.FxOpen)(tls, r.original, path, file, flags, outFlags)
	if code != sqlite3.SQLITE_OK || flags&recordedFiles == 0 {
		return code
	}
	inode, err := r.opened(int(pointee[sqlite3.TunixFile](file).Fh), libc.GoString(path))
	if err == nil {
		err = r.wrap(tls, file, inode)
	}
	if err != nil {
		r.fail(err)
		methods := &pointee[sqlite3.Tsqlite3_file](file).FpMethods
		function[closeMethod](pointee[sqlite3.Tsqlite3_io_methods](*methods).FxClose)(tls, file)
		*methods = 0 // so that SQLite does not close it
		return sqlite3.SQLITE_IOERR
	}
	return sqlite3.SQLITE_OK
}

// wrap gives an open file methods that record. Nothing else changes the file: pages that
// are mapped into memory are only read.
func (r *Recorder) wrap(tls *libc.TLS, file uintptr, inode inode) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	methods := &pointee[sqlite3.Tsqlite3_file](file).FpMethods
	wrapped, ok := r.methods[*methods]
	if !ok {
		var err error
		if wrapped, err = clone[sqlite3.Tsqlite3_io_methods](tls, *methods); err != nil {
			return err
		}
		m := pointee[sqlite3.Tsqlite3_io_methods](wrapped)
		m.FxClose = pointer[closeMethod](xClose)
		m.FxWrite = pointer[writeMethod](xWrite)
		m.FxTruncate = pointer[truncateMethod](xTruncate)
		m.FxSync = pointer[syncMethod](xSync)
		r.methods[*methods] = wrapped
	}
	r.files[file] = openFile{inode, *methods}
	*methods = wrapped
	return nil
}

// lookup returns an open file and its methods that do not record.
func (r *Recorder) lookup(file uintptr) (inode, *sqlite3.Tsqlite3_io_methods) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.files[file]
	return f.inode, pointee[sqlite3.Tsqlite3_io_methods](f.methods)
}

// fail keeps the first error.
func (r *Recorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

func xDelete(tls *libc.TLS, _, path uintptr, syncDirectory int32) int32 {
	r := current.Load()
	if _, err := r.append(header{Kind: deleted, Begin: Now()}, []byte(libc.GoString(path))); err != nil {
		return sqlite3.SQLITE_IOERR
	}
	original := pointee[sqlite3.Tsqlite3_vfs](r.original)
	return function[deleteMethod](original.FxDelete)(tls, r.original, path, syncDirectory)
}

func xClose(tls *libc.TLS, file uintptr) int32 {
	r := current.Load()
	_, original := r.lookup(file)
	r.mu.Lock()
	delete(r.files, file)
	r.mu.Unlock()
	return function[closeMethod](original.FxClose)(tls, file)
}

func xWrite(tls *libc.TLS, file, buffer uintptr, length int32, offset int64) int32 {
	r := current.Load()
	inode, original := r.lookup(file)
	data := unsafe.Slice(pointee[byte](buffer), length)
	return r.perform(header{Kind: written, Inode: inode, Value: offset}, data, func() int32 {
		return function[writeMethod](original.FxWrite)(tls, file, buffer, length, offset)
	})
}

func xTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	r := current.Load()
	inode, original := r.lookup(file)
	return r.perform(header{Kind: truncated, Inode: inode, Value: size}, nil, func() int32 {
		return function[truncateMethod](original.FxTruncate)(tls, file, size)
	})
}

// perform records an operation, performs it, and records that it is done.
func (r *Recorder) perform(h header, data []byte, operation func() int32) int32 {
	h.Begin = Now()
	sequence, err := r.append(h, data)
	if err != nil {
		return sqlite3.SQLITE_IOERR
	}
	if code := operation(); code != sqlite3.SQLITE_OK {
		return code
	}
	if _, err := r.append(header{Kind: done, Sequence: sequence, Value: Now()}, nil); err != nil {
		return sqlite3.SQLITE_IOERR
	}
	return sqlite3.SQLITE_OK
}

func xSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	r := current.Load()
	if r.withoutSync {
		return sqlite3.SQLITE_OK
	}
	inode, original := r.lookup(file)
	begin := Now()
	if code := function[syncMethod](original.FxSync)(tls, file, flags); code != sqlite3.SQLITE_OK {
		return code
	}
	if r.synced(inode, begin) != nil {
		return sqlite3.SQLITE_IOERR
	}
	return sqlite3.SQLITE_OK
}
