//go:build !noserver

package devserver

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc"
)

// syncer makes what the server has written to its database durable before anyone
// outside the server hears of it.
//
// A server on a file spends most of its time waiting for the disk if SQLite waits
// at the end of each transaction: an order takes some thirty of them. But a power
// failure may lose a transaction that nobody has been told of: SQLite's
// write-ahead log is written from beginning to end, so what is left of it is the
// state of an earlier moment. It is enough to wait for the disk once for each
// reply that leaves the server, and all replies that leave at the same time wait
// together. (Nightingale and others, "Rethink the Sync", 2006, call it external
// synchrony.)
type syncer struct {
	path string // of the database
	// writes returns how many commits have ended, and whether others are under
	// way. They are counted where they are made: SQLite's own index of the log is
	// shared memory, and what a file system shows of it to a reader of the file
	// cannot be relied upon.
	writes func() (ended uint64, underWay bool)
	// failed is called once, when a sync has failed: what was written is lost,
	// even if it can be read, and no later sync would report it.
	failed func(error)
	open   func(path string) (file, error)

	mu    sync.Mutex
	ended *sync.Cond
	// begun and done count the syncs; they differ while one is running.
	begun, done int
	wal         file
	// clean is true if, when the log was last synced, no commit was under way.
	// synced is the number of commits that had ended by then.
	clean  bool
	synced uint64
	err    error
}

// file is what a [syncer] needs of an [*os.File].
type file interface {
	io.Closer
	Stat() (fs.FileInfo, error)
	Sync() error
}

// logFile is SQLite's write-ahead log.
type logFile struct {
	*os.File
	sync func(*os.File) error
}

func (f logFile) Sync() error { return f.sync(f.File) }

func newSyncer(path string, writes func() (uint64, bool), syncLog func(*os.File) error, failed func(error)) *syncer {
	s := &syncer{path: path, writes: writes, failed: failed, open: func(path string) (file, error) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		return logFile{f, syncLog}, err
	}}
	s.ended = sync.NewCond(&s.mu)
	return s
}

// sync returns when everything that was committed before it was called is
// durable, or with the error of the first sync that failed.
func (s *syncer) sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A sync that is running may have begun too early.
	for need := s.begun + 1; s.done < need && s.err == nil; {
		if s.begun > s.done {
			s.ended.Wait()
			continue
		}
		s.begun++
		s.mu.Unlock()
		err := s.run()
		s.mu.Lock()
		s.done = s.begun
		if err != nil {
			s.err = fmt.Errorf("database %s: the latest writes may be lost: %w", s.path, err)
			s.failed(s.err)
		}
		s.ended.Broadcast()
	}
	return s.err
}

// run syncs the log, unless it has no new commits. One goroutine at a time calls
// it.
func (s *syncer) run() error {
	if err := s.reopen(); err != nil {
		return err
	}
	ended, underWay := s.writes()
	if s.clean && !underWay && ended == s.synced {
		return nil
	}
	if err := s.wal.Sync(); err != nil {
		return err
	}
	s.clean, s.synced = !underWay, ended
	return nil
}

// reopen opens the log, unless it is open. The log is a new file if the last
// connection to the database was closed meanwhile.
func (s *syncer) reopen() error {
	now, err := os.Stat(s.path + "-wal")
	if err != nil {
		return err
	}
	if s.wal != nil {
		before, err := s.wal.Stat()
		if err == nil && os.SameFile(now, before) {
			return nil
		}
		if err := s.close(); err != nil {
			return err
		}
	}
	s.wal, err = s.open(s.path + "-wal")
	return err
}

// close closes the log. No sync may be using it.
func (s *syncer) close() error {
	if s.wal == nil {
		return nil
	}
	err := s.wal.Close()
	s.wal, s.clean = nil, false
	return err
}

// beforeReply is an interceptor of the frontend that syncs before each reply.
func (s *syncer) beforeReply(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	response, err := handle(ctx, request)
	if syncErr := s.sync(); syncErr != nil {
		return nil, serviceerror.NewUnavailable(syncErr.Error())
	}
	return response, err
}

// syncsReplies reports whether a [syncer] can do what SQLite would do after each
// transaction. It cannot if the user sets the pragmas involved.
func syncsReplies(o Options) bool {
	if o.DatabaseFile == "" {
		return false
	}
	for _, pragma := range []string{"synchronous", "journal_mode", "locking_mode"} {
		if _, ok := o.SQLitePragmas[pragma]; ok {
			return false
		}
	}
	return true
}
