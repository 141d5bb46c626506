//go:build unix && !noserver

package simulation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/coffee/devserver"
)

// World is a server and those who use it. Its methods are called in the bubble of a [Run].
type World struct {
	seed uint64
	dir  string
	// configure changes the options of each server.
	configure func(*devserver.Options)

	mu      sync.Mutex
	servers int // that were started so far
	current *server
	hits    map[string]int

	ending sync.WaitGroup // what is dead, and stops
	dead   []error        // what went wrong with it

	kept    []*process // see [World.Keep]
	running sync.WaitGroup
	// open ends at [World.End].
	open  context.Context
	close context.CancelFunc
}

// New returns a world without a server. The seed decides what its nodes' faults hit. The
// databases are in dir, which must exist. configure, unless nil, changes the options of each
// server.
func New(seed uint64, dir string, configure func(*devserver.Options)) *World {
	w := &World{seed: seed, dir: dir, configure: configure, hits: map[string]int{}}
	w.open, w.close = context.WithCancel(context.Background())
	return w
}

// errDown is what a client hears while there is no server.
var errDown = status.Error(codes.Unavailable, "simulation: connection refused")

// Start starts a server on what the one before has left. There must be none.
func (w *World) Start(ctx context.Context) error {
	s, err := startServer(ctx, w.file(w.servers), w.configure)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers++
	w.current = s
	return nil
}

// file is the database of a server, by number.
func (w *World) file(number int) string {
	return filepath.Join(w.dir, fmt.Sprintf("server-%d.db", number))
}

// Kill kills the server: while it makes a commit, that many after the next one, or at once if
// none comes within a second. If kept is true, the commit is done, and nobody hears of it;
// otherwise it is not.
func (w *World) Kill(after int, kept bool) error {
	w.mu.Lock()
	s := w.current
	w.mu.Unlock()
	hit, err := s.kill(after, kept, w.file(w.servers))
	w.mu.Lock()
	w.current = nil
	w.hits["server killed "+hit]++
	w.mu.Unlock()
	w.ending.Go(func() {
		err := s.stop()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.dead = append(w.dead, err)
	})
	return err
}

// Stop stops what is kept running, and the server, and returns when all that died before
// have ended.
func (w *World) Stop() error {
	w.End()
	w.mu.Lock()
	s := w.current
	w.current = nil
	w.mu.Unlock()
	var err error
	if s != nil {
		err = s.stop()
	}
	w.ending.Wait()
	return errors.Join(append(w.dead, err)...)
}

// Hits counts what faults have hit, by what that was.
func (w *World) Hits() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.hits)
}

// Hit counts something that a fault has hit.
func (w *World) Hit(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hits[what]++
}

// invoke calls the server.
func (w *World) invoke(ctx context.Context, method string, request, reply any, options []grpc.CallOption) error {
	w.mu.Lock()
	s := w.current
	w.mu.Unlock()
	if s == nil {
		return errDown
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	err := s.conn.Invoke(ctx, method, request, reply, options...)
	if s.life.Err() != nil {
		w.Hit("calls lost with the server")
		return errDown
	}
	return err
}

// copyDatabase copies a database with its log.
func copyDatabase(from, to string) error {
	for _, ending := range []string{"", "-wal"} {
		data, err := os.ReadFile(from + ending)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(to+ending, data, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
