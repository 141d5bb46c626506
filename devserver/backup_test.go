package devserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"

	"example.com/coffee/internal/sqlitefile"
)

// TestBackup backs up a server at work. The copy has whatever was acknowledged
// before, and a server runs on it.
func TestBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, copied := filepath.Join(dir, "what? #1.db"), filepath.Join(dir, "copy of #1.db")
	server, _ := startTalking(t, Options{DatabaseFile: file})
	service := workflowservice.NewWorkflowServiceClient(dial(t, server))
	started, stop := make(chan int, 1000), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			_, err := service.StartWorkflowExecution(context.Background(), &workflowservice.StartWorkflowExecutionRequest{
				Namespace: "default", WorkflowId: fmt.Sprint(i), RequestId: fmt.Sprint(i), WorkflowType: &commonpb.WorkflowType{Name: "any"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "any"},
			})
			if err != nil {
				done <- err
				return
			}
			started <- i
		}
	}()
	last := 0
	for last < 20 {
		select {
		case last = <-started:
		case err := <-done:
			t.Fatal(err)
		}
	}
	for len(started) > 0 {
		last = <-started
	}
	if err := Backup(context.Background(), Copy{From: file, To: copied}); err != nil {
		t.Fatal(err)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	stamp, err := ReadStamp(context.Background(), copied)
	if err != nil || stamp != (Stamp{ServerVersion, server.identity.ClusterID}) {
		t.Errorf("the copy's stamp is %v, %v", stamp, err)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v", info, err)
	}
	restored, _ := startTalking(t, Options{DatabaseFile: copied})
	old := workflowservice.NewWorkflowServiceClient(dial(t, restored))
	for i := range last + 1 {
		_, err := old.DescribeWorkflowExecution(context.Background(), &workflowservice.DescribeWorkflowExecutionRequest{
			Namespace: "default", Execution: &commonpb.WorkflowExecution{WorkflowId: fmt.Sprint(i)}})
		if err != nil {
			t.Fatalf("workflow %d of %d: %v", i, last, err)
		}
	}
}

// TestBackupOrder checks that no copy is older than the one before it.
func TestBackupOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	create := func(name string) *sql.DB {
		if err := os.WriteFile(path(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("sqlite", sqlitefile.DSN(path(name), "rw", map[string]string{"journal_mode": "wal", "synchronous": "off"}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		db.SetMaxOpenConns(1)
		if _, err := db.Exec(`CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (0)`); err != nil {
			t.Fatal(err)
		}
		return db
	}
	first, second := create("first"), create("second")
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for n := 1; ; n++ {
			for _, db := range []*sql.DB{second, first} { // what the first has, the second had before
				if _, err := db.Exec(`UPDATE t SET n = ?`, n); err != nil {
					done <- err
					return
				}
			}
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
		}
	}()
	read := func(name string) (n int) {
		db, err := sql.Open("sqlite", sqlitefile.DSN(path(name), "rw"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.QueryRow(`SELECT n FROM t`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 20 {
		a, b := fmt.Sprint("a", i), fmt.Sprint("b", i)
		if err := Backup(context.Background(), Copy{path("first"), path(a)}, Copy{path("second"), path(b)}); err != nil {
			t.Fatal(err)
		}
		if read(a) > read(b) {
			t.Errorf("the first copy is of %d, the second of %d", read(a), read(b))
		}
	}
	if read(fmt.Sprint("a", 19)) == 0 {
		t.Error("nothing was written meanwhile")
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestBackupThatFails checks that a failed backup leaves nothing behind and
// changes nothing.
func TestBackupThatFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := start(t, Options{DatabaseFile: path("good.db")}).Stop(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path("good.db"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := append([]byte(nil), good...)
	for i := len(damaged) / 2; i < len(damaged)/2+20_000; i++ {
		damaged[i] = 0xff
	}
	for name, content := range map[string]string{"damaged.db": string(damaged), "text.db": strings.Repeat("not a database ", 1000), "there.db": "mine"} {
		if err := os.WriteFile(path(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	soon, cancelSoon := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancelSoon()
	before := names(t, dir)
	for _, c := range []struct {
		ctx            context.Context
		from, to, want string
	}{
		{context.Background(), "good.db", "there.db", "already exists"},
		{context.Background(), "no.db", "x.db", "no such file"},
		{context.Background(), "good.db", "no/x.db", "no such file"},
		{context.Background(), "damaged.db", "x.db", "damaged"},
		{context.Background(), "text.db", "x.db", "not a database"},
		{cancelled, "good.db", "x.db", "cancel"},
		{soon, "good.db", "x.db", "deadline"},
	} {
		err := Backup(c.ctx, Copy{From: path(c.from), To: path(c.to)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s to %s: got %v, want %q", c.from, c.to, err, c.want)
		}
	}
	if after := names(t, dir); after != before {
		t.Errorf("there is %s, and was %s", after, before)
	}
	if mine, err := os.ReadFile(path("there.db")); err != nil || string(mine) != "mine" {
		t.Errorf("a file that was there has %.20q, %v", mine, err)
	}
	if _, err := ReadStamp(context.Background(), path("text.db")); err == nil {
		t.Error("a text has a stamp")
	}
	var database *DatabaseError
	if _, err := ReadStamp(context.Background(), path("no.db")); !errors.As(err, &database) {
		t.Errorf("no file: %v", err)
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(entries)
}

// TestPublish: the first copy gets its name when the others have theirs, and if one of them
// cannot get it, none does.
func TestPublish(t *testing.T) {
	t.Parallel()
	for taken := range 4 { // the last time, no name is taken
		dir := t.TempDir()
		var copies []Copy
		var drafts []*sqlitefile.Draft
		for i := range 3 {
			c := Copy{To: filepath.Join(dir, fmt.Sprint(i))}
			draft, err := sqlitefile.NewDraft(c.To)
			if err != nil {
				t.Fatal(err)
			}
			copies, drafts = append(copies, c), append(drafts, draft)
		}
		want := "[0 1 2]"
		if taken < 3 {
			if err := os.WriteFile(copies[taken].To, []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			want = fmt.Sprintf("[%d]", taken)
		}
		err := publish(drafts, copies)
		for _, draft := range drafts {
			if err := draft.Close(); err != nil {
				t.Error(err)
			}
		}
		if taken < 3 && (!errors.Is(err, fs.ErrExist) || err.Error() != copies[taken].To+" already exists") || taken == 3 && err != nil {
			t.Errorf("name %d is taken: got %v", taken, err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		if got := fmt.Sprint(names); got != want {
			t.Errorf("name %d is taken: there are %s, want %s", taken, got, want)
		}
	}
}

// TestBackupFails: a ledger that cannot be copied leaves nothing of the database.
func TestBackupFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	to := filepath.Join(dir, "backups")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	good, bad := filepath.Join(dir, "good.db"), filepath.Join(dir, "bad.db")
	for _, file := range []string{good, bad} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("sqlite", sqlitefile.DSN(file, "rw"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(`CREATE TABLE t (x); INSERT INTO t VALUES (hex(zeroblob(50000)))`); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	damaged, err := os.OpenFile(bad, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := damaged.WriteAt(make([]byte, 4096), 4096); err != nil {
		t.Fatal(err)
	}
	if err := damaged.Close(); err != nil {
		t.Fatal(err)
	}
	err = Backup(context.Background(), Copy{good, filepath.Join(to, "good.db")}, Copy{bad, filepath.Join(to, "bad.db")})
	if err == nil || !strings.Contains(err.Error(), "the copy is damaged") {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(to); err != nil || len(entries) != 0 {
		t.Errorf("there are %v, %v", entries, err)
	}
}
