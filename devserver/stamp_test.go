package devserver

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/coffee/internal/sqlitefile"
)

// TestReadStampOfAnybody: a file that somebody else has made costs neither time nor memory,
// and nothing in its stamp reaches a terminal.
func TestReadStampOfAnybody(t *testing.T) {
	t.Parallel()
	const insert = `INSERT INTO devserver_stamp VALUES `
	for name, test := range map[string]struct {
		statements []string
		want       string // in the error; empty means that it is a stamp
	}{
		"a stamp":          {[]string{createStamp, insert + `('1.32.1', '0af3-b')`}, ""},
		"nothing":          {[]string{`CREATE TABLE t (x)`}, "was not made by this program"},
		"an endless view":  {[]string{`CREATE VIEW devserver_stamp AS WITH RECURSIVE more (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM more) SELECT n AS server_version, n AS cluster_id FROM more WHERE n < 0`}, "was not made by this program"},
		"computed":         {[]string{`CREATE TABLE devserver_stamp (x INT, cluster_id TEXT AS ('x'))`, `INSERT INTO devserver_stamp VALUES (1)`, `ALTER TABLE devserver_stamp ADD COLUMN server_version TEXT AS (hex(zeroblob(400000000)))`}, "was not made by this program"},
		"a virtual table":  {[]string{`CREATE VIRTUAL TABLE devserver_stamp USING fts5 (server_version, cluster_id)`}, "was not made by this program"},
		"empty":            {[]string{createStamp}, "does not say which server made it"},
		"too long":         {[]string{createStamp, insert + `('1.32.1', zeroblob(20000000))`}, "does not say which server made it"},
		"a blob":           {[]string{createStamp, insert + `(x'1b5d', 'x')`}, "does not say which server made it"},
		"terminal escapes": {[]string{createStamp, insert + `('1.0.0-' || char(27) || ']0;x' || char(7), 'x')`}, "does not say which server made it"},
		"a line break":     {[]string{createStamp, insert + `('1.32.1', 'x' || char(10))`}, "does not say which server made it"},
		"a path":           {[]string{createStamp, insert + `('1.32.1', '../../x')`}, "does not say which server made it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "x.db")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			db, err := sql.Open("sqlite", sqlitefile.DSN(file, "rw"))
			if err != nil {
				t.Fatal(err)
			}
			for _, statement := range test.statements {
				if _, err := db.Exec(statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			stamp, err := ReadStamp(context.Background(), file)
			var problem *DatabaseError
			if test.want == "" && (err != nil || stamp != Stamp{"1.32.1", "0af3-b"}) ||
				test.want != "" && (!errors.As(err, &problem) || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, %v", stamp, err)
			}
		})
	}
}
