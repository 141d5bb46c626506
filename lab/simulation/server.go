//go:build unix && !noserver

package simulation

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"modernc.org/sqlite"

	"example.com/coffee/devserver"
)

// server is a server that lives until it is killed.
type server struct {
	*database
	running *devserver.Server
	conn    *grpc.ClientConn
}

// database is that of a server, and decides about its life. SQLite's driver never forgets it,
// so it leads to nothing large.
type database struct {
	file string
	// life ends when the server is killed.
	life context.Context
	end  context.CancelFunc

	mu      sync.Mutex
	commits int
	death   *death // nil unless one is planned
}

// death is how a server dies.
type death struct {
	after int // how many more commits are made first
	kept  bool
	left  string // where the database that is left is put
	// ended is true from the instant of the death, and copied when the database is copied.
	ended, copied bool
	hit           string
	err           error
}

// databases are those of the servers that live, by their file: of a connection, SQLite tells
// only that.
var databases sync.Map

// watchCommits makes SQLite tell of each commit of a server. Only drivers can be asked to do
// so, and the one of the servers is shared by the whole process.
var watchCommits = sync.OnceFunc(func() {
	sqlite.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, dsn string) error {
		name, _, _ := strings.Cut(strings.TrimPrefix(dsn, "file:"), "?")
		file, err := url.PathUnescape(name)
		if err != nil {
			return nil // it is not one of ours
		}
		if d, ok := databases.Load(file); ok {
			conn.(sqlite.HookRegisterer).RegisterCommitHook(d.(*database).commit)
		}
		return nil
	})
})

func startServer(ctx context.Context, file string, configure func(*devserver.Options)) (_ *server, err error) {
	watchCommits()
	s := &server{database: &database{file: file}}
	s.life, s.end = context.WithCancel(context.Background())
	databases.Store(file, s.database)
	options := devserver.Options{InProcess: true, DatabaseFile: file, SyncLog: func(*os.File) error { return nil }}
	if configure != nil {
		configure(&options)
	}
	if s.running, err = devserver.Start(ctx, options); err != nil {
		databases.Delete(file)
		return nil, err
	}
	s.mu.Lock()
	commits := s.commits
	s.mu.Unlock()
	if commits == 0 { // nobody would notice that each kill hits a server that is idle
		return nil, errors.Join(errors.New("simulation: SQLite does not tell of the server's commits"), s.stop())
	}
	s.conn, err = grpc.NewClient("passthrough:///"+s.running.Address(),
		append(s.running.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// commit is called while the server's connection is about to commit, and makes no other
// write meanwhile.
func (s *database) commit() int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits++
	d := s.death
	switch {
	case d == nil || d.copied:
	case d.ended: // the commit with which it died is done
		s.leave()
	case d.after > 0:
		d.after--
	default:
		d.ended, d.hit = true, "after a commit"
		s.end()
		if !d.kept {
			d.hit = "before a commit"
			s.leave()
		}
	}
	return 0
}

// leave copies the database as it is. The caller holds the lock, and nothing writes.
func (s *database) leave() {
	s.death.copied = true
	s.death.err = copyDatabase(s.file, s.death.left)
}

// kill returns when the server is dead, and its database copied.
func (s *database) kill(after int, kept bool, left string) (hit string, err error) {
	d := &death{after: after, kept: kept, left: left, hit: "while it was idle"}
	s.mu.Lock()
	s.death = d
	s.mu.Unlock()
	select {
	case <-s.life.Done():
	case <-time.After(time.Second):
	}
	synctest.Wait() // until nothing writes
	s.mu.Lock()
	defer s.mu.Unlock()
	d.ended = true
	s.end()
	if !d.copied {
		s.leave()
	}
	return d.hit, d.err
}

// stop stops the server, dead or alive, and deletes its files.
func (s *server) stop() error {
	s.end()
	var errs []error
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	errs = append(errs, s.running.Stop())
	databases.Delete(s.file)
	files, err := filepath.Glob(s.file + "*")
	errs = append(errs, err)
	for _, file := range files {
		errs = append(errs, os.Remove(file))
	}
	return errors.Join(errs...)
}
