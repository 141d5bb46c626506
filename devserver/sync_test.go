package devserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"google.golang.org/grpc"
)

// disk records what of a database would be left after a power failure: what was
// there when its log was last synced. That is less than what SQLite guarantees,
// which also syncs by itself now and then.
type disk struct {
	database string
	mu       sync.Mutex
	left     map[string][]byte // by the ending of the file's name
	syncs    int
}

type diskFile struct {
	*os.File
	disk *disk
}

func (d *disk) open(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	return diskFile{f, d}, err
}

func (f diskFile) Sync() error {
	left := map[string][]byte{}
	for _, ending := range []string{"", "-wal"} {
		data, err := os.ReadFile(f.disk.database + ending)
		if err != nil {
			return err
		}
		left[ending] = data
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.disk.left = left
	f.disk.syncs++
	return f.File.Sync()
}

// restore writes what is left to a new place, and returns its path.
func (d *disk) restore(t *testing.T) string {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	database := filepath.Join(t.TempDir(), "restored.db")
	for ending, data := range d.left {
		if err := os.WriteFile(database+ending, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return database
}

// startOnDisk starts a server on a disk.
func startOnDisk(t *testing.T, options Options) (*Server, *disk) {
	t.Helper()
	options.DatabaseFile = filepath.Join(t.TempDir(), "x.db")
	options.SQLitePragmas = map[string]string{"wal_autocheckpoint": "0"} // a checkpoint would sync, and overwrite what is copied
	server, _ := startTalking(t, options)
	d := &disk{database: options.DatabaseFile}
	server.syncer.mu.Lock()
	defer server.syncer.mu.Unlock()
	if err := server.syncer.close(); err != nil {
		t.Fatal(err)
	}
	server.syncer.open = d.open
	return server, d
}

// TestPowerFailure checks that what a client has been told is still there after a
// power failure, whenever it comes. SQLite does not guarantee that here
// (synchronous is normal).
func TestPowerFailure(t *testing.T) {
	t.Parallel()
	server, d := startOnDisk(t, Options{})
	ctx := context.Background()
	c := connect(t, waysIn["socket"](server))
	// check runs a check against a server on what a power failure would leave
	// right now.
	check := func(what string, check func(c client.Client) error) {
		t.Helper()
		restored, _ := startTalking(t, Options{DatabaseFile: d.restore(t)})
		defer restored.Stop()
		c, err := client.Dial(client.Options{HostPort: restored.Address(), Logger: quiet{}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := check(c); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range 3 {
		id := fmt.Sprint("order-", i)
		run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: "orders"}, threeSteps)
		if err != nil {
			t.Fatal(err)
		}
		check("started", func(c client.Client) error {
			_, err := c.DescribeWorkflowExecution(ctx, id, run.GetRunID())
			return err
		})
		if err := c.SignalWorkflow(ctx, id, "", "hurry", nil); err != nil {
			t.Fatal(err)
		}
		check("signalled", func(c client.Client) error {
			described, err := c.DescribeWorkflowExecution(ctx, id, "")
			if err == nil && described.GetWorkflowExecutionInfo().GetHistoryLength() < 3 {
				err = errors.New("the signal is lost")
			}
			return err
		})
	}
	w := worker.New(c, "orders", worker.Options{})
	w.RegisterWorkflow(threeSteps)
	w.RegisterActivity(step)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := c.GetWorkflow(ctx, fmt.Sprint("order-", i), "").Get(ctx, nil); err != nil {
			t.Fatal(err)
		}
		check("completed", func(c client.Client) error {
			for done := range i + 1 {
				described, err := c.DescribeWorkflowExecution(ctx, fmt.Sprint("order-", done), "")
				if err != nil {
					return err
				}
				if status := described.GetWorkflowExecutionInfo().GetStatus(); status.String() != "Completed" {
					return fmt.Errorf("order %d is %s", done, status)
				}
			}
			return nil
		})
	}
	w.Stop()
	if d.syncs == 0 {
		t.Error("nothing was synced")
	}
}

// fakeFile is a log whose syncs are a function.
type fakeFile struct {
	*os.File
	sync func() error
}

func (f fakeFile) Sync() error { return f.sync() }

// fakeWrites counts commits, as the store does.
type fakeWrites struct{ begun, ended atomic.Uint64 }

func (w *fakeWrites) commit() { w.begun.Add(1); w.ended.Add(1) }

func (w *fakeWrites) count() (uint64, bool) {
	ended := w.ended.Load()
	return ended, w.begun.Load() != ended
}

// fakeSyncer returns a syncer on a log whose syncs are a function, and the
// counters of its commits and its failures.
func fakeSyncer(t *testing.T, sync func() error) (s *syncer, writes *fakeWrites, failures *atomic.Int32) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path+"-wal", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	writes, failures = &fakeWrites{}, &atomic.Int32{}
	s = newSyncer(path, writes.count, nil, func(error) { failures.Add(1) })
	s.open = func(path string) (file, error) {
		f, err := os.Open(path)
		return fakeFile{f, sync}, err
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s, writes, failures
}

func TestSyncOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	syncs := 0
	s, writes, _ := fakeSyncer(t, func() error { syncs++; return nil })
	wantSyncs := func(when string, want int) {
		t.Helper()
		if err := s.sync(); err != nil || syncs != want {
			t.Errorf("%s there were %d syncs, not %d: %v", when, syncs, want, err)
		}
	}
	// What an earlier process has written may not be durable.
	wantSyncs("at the beginning", 1)
	wantSyncs("without a commit", 1)
	writes.commit()
	wantSyncs("after a commit", 2)
	wantSyncs("without another commit", 2)
	// A commit that is under way: some of it may be in the log, and visible.
	writes.begun.Add(1)
	wantSyncs("in a commit", 3)
	wantSyncs("still in it", 4)
	writes.ended.Add(1)
	wantSyncs("when it has ended", 5)
	wantSyncs("and then", 5)
	// A new log, as after the last connection was closed.
	if err := os.Remove(s.path + "-wal"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path+"-wal", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantSyncs("with another log", 6)
}

// TestSyncThatHasBegun checks that a running sync is too early for later callers,
// which all wait for the same next one.
func TestSyncThatHasBegun(t *testing.T) {
	t.Parallel()
	began, finish := make(chan int), make(chan struct{})
	syncs := 0
	s, writes, _ := fakeSyncer(t, func() error {
		syncs++
		began <- syncs
		<-finish
		return nil
	})
	first := make(chan error, 1)
	go func() { first <- s.sync() }()
	<-began
	writes.commit()
	const late = 10
	var waiting sync.WaitGroup
	var done atomic.Int32
	for range late {
		waiting.Go(func() {
			if err := s.sync(); err != nil {
				t.Error(err)
			}
			done.Add(1)
		})
	}
	finish <- struct{}{}
	if err := <-first; err != nil {
		t.Error(err)
	}
	<-began // the second
	if n := done.Load(); n != 0 {
		t.Errorf("%d did not wait for a sync of their own", n)
	}
	close(finish)
	go func() {
		for range began { // some may have come after the second had begun
		}
	}()
	waiting.Wait()
	close(began)
}

// TestSyncFails checks that no reply leaves the server after a sync has failed.
func TestSyncFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("input/output error")
	fails := true
	s, writes, failures := fakeSyncer(t, func() error {
		if fails {
			return broken
		}
		return nil
	})
	for range 2 {
		reply, err := s.beforeReply(context.Background(), nil, nil, grpc.UnaryHandler(func(context.Context, any) (any, error) { return "done", nil }))
		if reply != nil || err == nil {
			t.Errorf("got %v, %v", reply, err)
		}
		fails = false // what is lost is lost
		writes.commit()
	}
	if n := failures.Load(); n != 1 {
		t.Errorf("it was reported %d times", n)
	}
}

// TestSyncsReplies checks that SQLite syncs each transaction if the user has set the
// pragmas involved.
func TestSyncsReplies(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options Options
		want    string
	}{
		"file":        {Options{DatabaseFile: "x"}, "normal"},
		"synchronous": {Options{DatabaseFile: "x", SQLitePragmas: map[string]string{"synchronous": "extra"}}, "extra"},
		"journal":     {Options{DatabaseFile: "x", SQLitePragmas: map[string]string{"journal_mode": "delete"}}, "full"},
	} {
		if got := pragmas(test.options)["synchronous"]; got != test.want || syncsReplies(test.options) != (test.want == "normal") {
			t.Errorf("%s: synchronous is %s", name, got)
		}
	}
	if syncsReplies(Options{}) {
		t.Error("there is nothing to sync in memory")
	}
}
