package devserver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/server/common/namespace"

	commonpb "go.temporal.io/api/common/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"

	"example.com/coffee/internal/sqlitefile"
)

// TestOneDatabaseOneServer checks that only one server runs on a database,
// whatever the database is called, and that a server runs as well by one name as
// by another.
func TestOneDatabaseOneServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.Mkdir(at("sub"), 0o700), os.Symlink("sub", at("dir")), os.Symlink("sub/real.db", at("soft.db"))); err != nil {
		t.Fatal(err)
	}
	// A dangling link: the database is created where it leads.
	first := start(t, Options{DatabaseFile: at("soft.db")})
	if target, err := os.Readlink(at("soft.db")); err != nil || target != "sub/real.db" {
		t.Errorf("the link is %s, %v", target, err)
	}
	real, err := sqlitefile.Resolve(at("sub/real.db"))
	if err != nil || first.DatabaseFile() != real {
		t.Errorf("the database is %s, %v", first.DatabaseFile(), err)
	}
	if err := os.Link(at("sub/real.db"), at("hard.db")); err != nil {
		t.Fatal(err)
	}
	names := []string{"sub/real.db", "soft.db", "dir/real.db"}
	for _, name := range append(names, "hard.db") {
		_, err := Start(context.Background(), Options{DatabaseFile: at(name)})
		var locked *LockedError
		if !errors.As(err, &locked) {
			t.Errorf("a second server on %s: %v", name, err)
		}
	}
	_, err = workflowservice.NewWorkflowServiceClient(dial(t, first)).StartWorkflowExecution(context.Background(), &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "default", WorkflowId: "first", RequestId: "first", WorkflowType: &commonpb.WorkflowType{Name: "any"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "any"},
	})
	if err != nil {
		t.Error("the first server:", err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	// After a kill the log would be beside one name, and lost for the other.
	for _, name := range append(names, "hard.db") {
		_, err := Start(context.Background(), Options{DatabaseFile: at(name)})
		var database *DatabaseError
		if !errors.As(err, &database) || !strings.Contains(err.Error(), "more than one name") {
			t.Errorf("a server on %s, with a hard link: %v", name, err)
		}
	}
	if err := os.Remove(at("hard.db")); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		server := start(t, Options{DatabaseFile: at(name)})
		_, err := workflowservice.NewWorkflowServiceClient(dial(t, server)).DescribeWorkflowExecution(context.Background(), &workflowservice.DescribeWorkflowExecutionRequest{
			Namespace: "default", Execution: &commonpb.WorkflowExecution{WorkflowId: "first"},
		})
		if err != nil {
			t.Errorf("a server on %s: %v", name, err)
		}
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}
	if entries, err := filepath.Glob(at("*.new-*")); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestLockFileIsAnother puts something else in the place of the lock file. The
// server neither writes to it nor waits for it.
func TestLockFileIsAnother(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(lock, precious string) error{
		"a link":                func(lock, precious string) error { return os.Symlink(precious, lock) },
		"a link to nothing":     func(lock, precious string) error { return os.Symlink(precious+".new", lock) },
		"a pipe":                func(lock, _ string) error { return mkfifo(lock) },
		"a directory":           func(lock, _ string) error { return os.Mkdir(lock, 0o700) },
		"a link to a directory": func(lock, precious string) error { return os.Symlink(filepath.Dir(precious), lock) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file, precious := filepath.Join(dir, "x.db"), filepath.Join(dir, "precious")
			if err := errors.Join(os.WriteFile(precious, []byte("precious"), 0o600), put(file+".lock", precious)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_, err := Start(ctx, Options{DatabaseFile: file})
			var database *DatabaseError
			if !errors.As(err, &database) || !strings.Contains(err.Error(), "x.db.lock is not a regular file; remove it") {
				t.Errorf("got %v", err)
			}
			if data, err := os.ReadFile(precious); err != nil || string(data) != "precious" {
				t.Errorf("the file behind it has %q, %v", data, err)
			}
			if _, err := os.Lstat(precious + ".new"); err == nil {
				t.Error("the file behind it was made")
			}
			if _, err := os.Lstat(file); err == nil {
				t.Error("a database was made")
			}
		})
	}
}

// TestDatabaseIsNoFile checks that a path that is not a file is refused, and that
// nothing waits for it.
func TestDatabaseIsNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe, sub, loop := filepath.Join(dir, "pipe.db"), filepath.Join(dir, "dir.db"), filepath.Join(dir, "loop.db")
	if err := errors.Join(mkfifo(pipe), os.Mkdir(sub, 0o700), os.Symlink("loop.db", loop)); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{pipe: "is not a regular file", sub: "is not a regular file", loop: "cannot be opened"} {
		_, err := Start(context.Background(), Options{DatabaseFile: file})
		var database *DatabaseError
		if !errors.As(err, &database) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", file, err)
		}
	}
}

// TestMinRetention: the limit is Temporal's own.
func TestMinRetention(t *testing.T) {
	t.Parallel()
	if minRetention != namespace.MinRetentionLocal {
		t.Errorf("%v, but Temporal's is %v", minRetention, namespace.MinRetentionLocal)
	}
}
