package devserver

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// withWorkflow is the content of a database with a workflow in it, which is made once.
var withWorkflow struct {
	once    sync.Once
	content []byte
}

// oldDatabase makes a database with a workflow in it, and then lets change make it one
// of an older server.
func oldDatabase(t *testing.T, file, version string, change ...string) {
	t.Helper()
	withWorkflow.once.Do(func() {
		file := filepath.Join(t.TempDir(), "x.db")
		server := start(t, Options{DatabaseFile: file})
		startWorkflow(t, server, "before")
		err := errors.Join(server.Stop(), checkpoint(context.Background(), file)) // lest a log be left behind
		if err == nil {
			withWorkflow.content, err = os.ReadFile(file)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if err := os.WriteFile(file, withWorkflow.content, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := openSQLite(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range append(change, fmt.Sprintf(`UPDATE devserver_stamp SET server_version = '%s'`, version)) {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func startWorkflow(t *testing.T, server *Server, id string) {
	t.Helper()
	_, err := workflowservice.NewWorkflowServiceClient(dial(t, server)).StartWorkflowExecution(context.Background(), &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "default", WorkflowId: id, RequestId: id, WorkflowType: &commonpb.WorkflowType{Name: "any"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "any"},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wantWorkflows checks which workflows a server knows, by their ids and in its list.
func wantWorkflows(t *testing.T, server *Server, ids ...string) {
	t.Helper()
	service := workflowservice.NewWorkflowServiceClient(dial(t, server))
	for _, id := range ids {
		if _, err := service.DescribeWorkflowExecution(context.Background(), &workflowservice.DescribeWorkflowExecutionRequest{
			Namespace: "default", Execution: &commonpb.WorkflowExecution{WorkflowId: id},
		}); err != nil {
			t.Errorf("workflow %s: %v", id, err)
		}
		eventually(t, "workflow "+id+" is listed", func() (bool, error) {
			list, err := service.ListWorkflowExecutions(context.Background(), &workflowservice.ListWorkflowExecutionsRequest{
				Namespace: "default", Query: fmt.Sprintf("WorkflowId = '%s'", id),
			})
			return len(list.GetExecutions()) == 1, err
		})
	}
}

// older are statements that take away what an older server did not have: a table, and
// stored generated columns, which come in with a trigger and a full-text index.
var older = []string{
	`DROP TABLE current_chasm_executions`,
	`DROP INDEX by_status`,
	`ALTER TABLE executions_visibility DROP COLUMN TemporalExternalPayloadCount`,
	`CREATE INDEX by_task_queue ON executions_visibility (namespace_id, task_queue)`,
}

// TestUpgrade: the database of an older server is carried over, with everything in it,
// and the old one is kept. Of a patch release only the stamp changes.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		version string
		change  []string
		kept    bool
	}{
		"patch release": {"1.32.0", nil, false},
		"older schema":  {"1.31.5", older, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "x.db")
			oldDatabase(t, file, test.version, test.change...)
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			old, err := ReadStamp(context.Background(), file)
			if err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			server := start(t, Options{DatabaseFile: file, Notify: func(line string) { fmt.Fprintln(&said, line) }})
			wantWorkflows(t, server, "before")
			startWorkflow(t, server, "after")
			wantWorkflows(t, server, "before", "after")
			if server.identity.ClusterID != old.ClusterID {
				t.Errorf("the cluster id was %s and is %s", old.ClusterID, server.identity.ClusterID)
			}
			if err := server.Stop(); err != nil {
				t.Fatal(err)
			}
			if stamp, err := ReadStamp(context.Background(), file); err != nil || stamp != (Stamp{ServerVersion, old.ClusterID}) {
				t.Errorf("the stamp is %v, %v", stamp, err)
			}
			if !strings.Contains(said.String(), test.version) || strings.Contains(said.String(), "not tested") != (name == "older schema") {
				t.Errorf("it said:\n%s", said.String())
			}
			kept, err := os.ReadFile(file + ".before-" + test.version)
			if test.kept && (err != nil || !bytes.Equal(kept, before) || !strings.Contains(said.String(), "x.db.before-"+test.version)) {
				t.Errorf("the old one was not kept as it was, %v; it said:\n%s", err, said.String())
			}
			if !test.kept && err == nil {
				t.Error("there is a copy of the old one")
			}
			// From now on it is like any other.
			server = start(t, Options{DatabaseFile: file, NoUpgrade: true})
			wantWorkflows(t, server, "before", "after")
			if err := server.Stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestUpgradeRefused: what cannot or may not be upgraded stays as it is, to the byte.
func TestUpgradeRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		version   string
		change    []string
		noUpgrade bool
		cause     error
		want      string
	}{
		"newer":                    {"1.33.0", nil, false, ErrNewerDatabase, "was written by Temporal server 1.33.0, but this server is 1.32.1"},
		"newer patch":              {"1.32.10", nil, false, ErrNewerDatabase, "was written by Temporal server 1.32.10"},
		"no upgrade":               {"1.31.5", older, true, ErrOlderDatabase, "was written by Temporal server 1.31.5, but this server is 1.32.1"},
		"no upgrade, patch":        {"1.32.0", nil, true, ErrOlderDatabase, "was written by Temporal server 1.32.0"},
		"a table that is unknown":  {"1.31.5", []string{`CREATE TABLE extra (x INT)`}, false, ErrUnknownSchema, "it has a table extra, which server 1.32.1 does not know"},
		"a column that is unknown": {"1.32.0", []string{`ALTER TABLE shards ADD COLUMN extra INT`}, false, ErrUnknownSchema, "its table shards has a column extra, which server 1.32.1 does not know"},
		"a view":                   {"1.31.5", append([]string{`CREATE VIEW extra AS SELECT 1`}, older...), false, ErrUnknownSchema, "it has a view extra, which server 1.32.1 does not know"},
		"a trigger":                {"1.31.5", append([]string{`CREATE TRIGGER extra AFTER INSERT ON shards BEGIN SELECT 1; END`}, older...), false, ErrUnknownSchema, "it has a trigger extra, which server 1.32.1 does not know"},
		"a virtual table":          {"1.32.0", []string{`CREATE VIRTUAL TABLE extra USING fts5 (x)`}, false, ErrUnknownSchema, "it has a table extra, which server 1.32.1 does not know"},
		"no version":               {"soon", nil, false, nil, "was written by Temporal server soon"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "x.db")
			oldDatabase(t, file, test.version, test.change...)
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Start(context.Background(), Options{DatabaseFile: file, NoUpgrade: test.noUpgrade})
			var database *DatabaseError
			if !errors.As(err, &database) || test.cause != nil && !errors.Is(err, test.cause) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
			if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
				t.Error("the file was changed", err)
			}
			if got := names(t, dir); got != "[- x.db - x.db.lock]" {
				t.Errorf("there are %s", got)
			}
		})
	}
}

// TestUpgradeInterrupted: whatever ends an upgrade early, the next start finds the old
// database whole, and goes on.
func TestUpgradeInterrupted(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.db")
	oldDatabase(t, file, "1.31.5", older...)
	// Killed when the old database had got its second name.
	if err := os.Link(file, file+".before-1.31.5"); err != nil {
		t.Fatal(err)
	}
	// And when another attempt had not finished its draft.
	if err := os.WriteFile(file+".new-123", []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Interrupted.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Start(ctx, Options{DatabaseFile: file}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if stamp, err := ReadStamp(context.Background(), file); err != nil || stamp.ServerVersion != "1.31.5" {
		t.Errorf("the stamp is %v, %v", stamp, err)
	}
	server := start(t, Options{DatabaseFile: file})
	wantWorkflows(t, server, "before")
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	// An operator goes back, and upgrades again: the copies do not replace each other.
	if err := os.Rename(file+".before-1.31.5", file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".before-1.31.5", []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	server = start(t, Options{DatabaseFile: file})
	wantWorkflows(t, server, "before")
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(file + ".before-1.31.5"); err != nil || string(data) != "precious" {
		t.Errorf("a file that was there has %.20q, %v", data, err)
	}
	if stamp, err := ReadStamp(context.Background(), file+".before-1.31.5-2"); err != nil || stamp.ServerVersion != "1.31.5" {
		t.Errorf("the second copy: %v, %v", stamp, err)
	}
}

// carrierOf returns a carrier for an old database.
func carrierOf(t *testing.T, file string) *carrier {
	t.Helper()
	draft := filepath.Join(t.TempDir(), "draft")
	if err := os.WriteFile(draft, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := newCarrier(context.Background(), file, draft, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.close() })
	return c
}

// TestCarrierCompares: a copy that differs from the old database is noticed.
func TestCarrierCompares(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	file := filepath.Join(t.TempDir(), "x.db")
	oldDatabase(t, file, "1.31.5", older...)
	for name, damage := range map[string]string{
		"a row is missing":      `DELETE FROM main.history_node WHERE rowid = (SELECT min(rowid) FROM main.history_node)`,
		"a row is another":      `UPDATE main.history_node SET data = x'00' WHERE rowid = (SELECT min(rowid) FROM main.history_node)`,
		"a row too many":        `INSERT INTO main.history_node (shard_id, tree_id, branch_id, node_id, txn_id, data, data_encoding) VALUES (1, 'x', 'y', 1, 1, '', '')`,
		"a value has a type":    `UPDATE main.history_node SET data_encoding = CAST(data_encoding AS BLOB)`,
		"a number for a string": `UPDATE main.history_node SET txn_id = txn_id + 1`,
	} {
		t.Run(name, func(t *testing.T) {
			c := carrierOf(t, file)
			if err := c.copyTable(ctx, "history_node", newProgress(c.rows, func(int) {})); err != nil {
				t.Fatal(err)
			}
			if err := c.compare(ctx, "history_node"); err != nil {
				t.Fatal(err)
			}
			if _, err := c.conn.ExecContext(ctx, damage); err != nil {
				t.Fatal(err)
			}
			if err := c.compare(ctx, "history_node"); err == nil {
				t.Error("it was not noticed")
			}
		})
	}
}

// TestProgress: nothing is said in the first second, and then once a second.
func TestProgress(t *testing.T) {
	t.Parallel()
	var told []int
	p := newProgress(200, func(percent int) { told = append(told, percent) })
	p.add(50)
	if len(told) != 0 {
		t.Errorf("it told %v at once", told)
	}
	p.next = time.Now().Add(-time.Millisecond) // a second later
	p.add(50)
	p.add(50)
	p.next = time.Now().Add(-time.Millisecond)
	p.add(50)
	if !slices.Equal(told, []int{50, 100}) {
		t.Errorf("it told %v", told)
	}
}

// TestCheckFullText: a full-text index that does not fit the rows is noticed.
func TestCheckFullText(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	file := filepath.Join(t.TempDir(), "x.db")
	oldDatabase(t, file, "1.31.5", older...)
	c := carrierOf(t, file)
	if err := checkFullText(ctx, c.conn); err != nil {
		t.Fatal(err)
	}
	if _, err := c.conn.ExecContext(ctx, `INSERT INTO main.executions_visibility_fts_text (rowid, Text01) VALUES (1, 'nobody wrote this')`); err != nil {
		t.Fatal(err)
	}
	if err := checkFullText(ctx, c.conn); err == nil || !strings.Contains(err.Error(), "executions_visibility_fts_text") {
		t.Errorf("got %v", err)
	}
}

// TestUpgradeKeepsTheLog: what a killed server has left in the log of its database is
// in the new database, and in the old one that is kept.
func TestUpgradeKeepsTheLog(t *testing.T) {
	t.Parallel()
	dir, dead := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "x.db")
	oldDatabase(t, file, "1.31.5", append(older, `PRAGMA journal_mode = WAL`)...)
	db, err := openSQLite(file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const count = `SELECT count(*) FROM history_node WHERE shard_id = 7`
	if _, err := db.Exec(`INSERT INTO history_node (shard_id, tree_id, branch_id, node_id, txn_id, data, data_encoding) VALUES (7, x'00', x'00', 1, 1, x'00', 'x')`); err != nil {
		t.Fatal(err)
	}
	// The files as a kill leaves them.
	for _, name := range []string{"x.db", "x.db-wal"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dead, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	d, err := openDatabase(context.Background(), Options{DatabaseFile: filepath.Join(dead, "x.db")})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x.db", "x.db.before-1.31.5"} {
		db, err := openSQLite(filepath.Join(dead, name))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var rows int
		if err := db.QueryRow(count).Scan(&rows); err != nil || rows != 1 {
			t.Errorf("%s has %d of the rows, %v", name, rows, err)
		}
	}
}

// TestAdopt: the database of a stock server is taken over if that is asked for, with
// everything in it, and refused otherwise.
func TestAdopt(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.db")
	server := startStock(t, file)
	startWorkflow(t, &Server{address: server.address}, "before")
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	_, err := Start(context.Background(), Options{DatabaseFile: file})
	if !errors.Is(err, ErrForeignDatabase) || !strings.Contains(err.Error(), "was not made by this program") {
		t.Errorf("without Adopt: %v", err)
	}
	var said strings.Builder
	adopted := start(t, Options{DatabaseFile: file, Adopt: true, Notify: func(line string) { fmt.Fprintln(&said, line) }})
	wantWorkflows(t, adopted, "before")
	startWorkflow(t, adopted, "after")
	if err := adopted.Stop(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "x.db does not say which version made it; upgrades are tested from 1.29, 1.30, 1.32") {
		t.Errorf("it said:\n%s", said.String())
	}
	if !strings.Contains(said.String(), "carried over from another Temporal server to 1.32.1") || !strings.Contains(said.String(), "x.db.before-adoption;") {
		t.Errorf("it said:\n%s", said.String())
	}
	adopted = start(t, Options{DatabaseFile: file, Adopt: true}) // it is ours by now
	wantWorkflows(t, adopted, "before", "after")
	if err := adopted.Stop(); err != nil {
		t.Fatal(err)
	}
}

// TestAdoptRefused: a database that is not a Temporal server's, or that of a larger
// one, stays as it is.
func TestAdoptRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.db")
	for name, test := range map[string]struct{ statements, want string }{
		"another program's": {`CREATE TABLE notes (text TEXT)`, "cannot be adopted: it is not the database of a Temporal server"},
		"another cluster's": {`CREATE TABLE cluster_metadata_info (cluster_name TEXT, data BLOB, data_encoding TEXT)`, `cannot be adopted: it is not that of a cluster named "active"`},
		"garbage":           {`CREATE TABLE cluster_metadata_info (cluster_name TEXT, data BLOB, data_encoding TEXT); INSERT INTO cluster_metadata_info VALUES ('active', x'ff', 'Proto3')`, "cannot be read"},
		"four shards":       {`CREATE TABLE cluster_metadata_info (cluster_name TEXT, data BLOB, data_encoding TEXT); INSERT INTO cluster_metadata_info VALUES ('active', x'1004', 'Proto3')`, "it has 4 history shards, and this server has one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := file + name
			db, err := sql.Open("sqlite", file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = db.Exec(test.statements)
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Start(context.Background(), Options{DatabaseFile: file, Adopt: true})
			var database *DatabaseError
			if !errors.As(err, &database) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
			if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
				t.Error("the file was changed", err)
			}
		})
	}
}
