//go:build !noserver

package devserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"example.com/coffee/internal/sqlitefile"
)

// carrier carries the contents of an old database over to a new one, which has this
// server's schema. SQLite cannot change the old one instead: it adds no stored
// generated columns to a table.
type carrier struct {
	db       *sql.DB   // the new database
	conn     *sql.Conn // of it; the old one is attached
	size     int64     // of the old file, in bytes
	rows     int64     // in all of its tables
	old, new schema
}

// schema is what a database consists of.
type schema struct {
	// tables are the columns of each table, except those that SQLite or its full-text
	// search keep for themselves.
	tables map[string]columns
	// statements are the statements that made everything in it, by kind and name.
	statements map[string]string
}

// columns are the columns of a table, by name: whether each is stored, not generated.
type columns map[string]bool

// newCarrier creates the new database in a draft, which is an empty file.
func newCarrier(ctx context.Context, path, draft, clusterID string) (_ *carrier, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	// What is in the draft does not count until it is complete.
	db, err := sql.Open("sqlite", sqlitefile.DSN(draft, "rw", map[string]string{"synchronous": "off", "journal_mode": "off"}))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	c := &carrier{db: db, size: info.Size()}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if err := createSchema(ctx, c.db, clusterID); err != nil {
		return nil, err
	}
	if c.conn, err = c.db.Conn(ctx); err != nil {
		return nil, err
	}
	// Nothing writes to the old database, but only who may write removes the log that
	// reading leaves beside it.
	if _, err := c.conn.ExecContext(ctx, `ATTACH DATABASE $1 AS old`, sqlitefile.DSN(path, "rw")); err != nil {
		return nil, err
	}
	if c.new, err = readSchema(ctx, c.conn, "main"); err != nil {
		return nil, err
	}
	if c.old, err = readSchema(ctx, c.conn, "old"); err != nil {
		return nil, err
	}
	for table := range c.old.tables {
		var rows int64
		if err := c.conn.QueryRowContext(ctx, `SELECT count(*) FROM old.`+quoted(table)).Scan(&rows); err != nil {
			return nil, err
		}
		c.rows += rows
	}
	return c, nil
}

// close closes both databases. It may be called again.
func (c *carrier) close() error {
	if c.conn == nil {
		return c.db.Close()
	}
	err := errors.Join(c.conn.Close(), c.db.Close())
	if errors.Is(err, sql.ErrConnDone) { // closed already
		return nil
	}
	return err
}

// isSame reports whether the old database has this server's schema.
func (c *carrier) isSame() bool { return maps.Equal(c.old.statements, c.new.statements) }

// refuseUnknown returns an error if the old database has something that this server
// does not know, and that would be lost.
func (c *carrier) refuseUnknown() error {
	for _, table := range slices.Sorted(maps.Keys(c.old.tables)) {
		known, ok := c.new.tables[table]
		if !ok {
			return fmt.Errorf("it has a table %s, which server %s does not know", table, ServerVersion)
		}
		for _, column := range slices.Sorted(maps.Keys(c.old.tables[table])) {
			if _, ok := known[column]; !ok {
				return fmt.Errorf("its table %s has a column %s, which server %s does not know", table, column, ServerVersion)
			}
		}
	}
	// Its indexes serve only queries, and this server has its own. What is left are virtual
	// tables, triggers and views.
	for _, thing := range slices.Sorted(maps.Keys(c.old.statements)) {
		kind, name, _ := strings.Cut(thing, " ")
		if _, ok := c.new.statements[thing]; !ok && kind != "index" && !strings.HasPrefix(name, "sqlite_") {
			return fmt.Errorf("it has a %s %s, which server %s does not know", kind, name, ServerVersion)
		}
	}
	return nil
}

// readSchema reads the schema of a database that a connection has attached.
func readSchema(ctx context.Context, conn *sql.Conn, database string) (schema, error) {
	s := schema{tables: map[string]columns{}, statements: map[string]string{}}
	err := eachRow(ctx, conn, `SELECT type, name, sql FROM `+database+`.sqlite_schema WHERE sql IS NOT NULL AND name <> '`+stampTable+`'`, func(scan scanner) error {
		var kind, name, statement string
		if err := scan(&kind, &name, &statement); err != nil {
			return err
		}
		s.statements[kind+" "+name] = statement
		return nil
	})
	if err != nil {
		return s, err
	}
	err = eachRow(ctx, conn, `SELECT t.name, t.wr, c.name, c.hidden FROM pragma_table_list AS t, pragma_table_xinfo(t.name, t.schema) AS c
		WHERE t.schema = '`+database+`' AND t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND t.name <> '`+stampTable+`'`, func(scan scanner) error {
		var table, column string
		var withoutRowID bool
		var hidden int
		if err := scan(&table, &withoutRowID, &column, &hidden); err != nil {
			return err
		}
		if withoutRowID {
			return fmt.Errorf("its table %s has no row ids", table)
		}
		if s.tables[table] == nil {
			s.tables[table] = columns{}
		}
		s.tables[table][column] = hidden == 0 // 2 and 3 are generated columns
		return nil
	})
	return s, err
}

// batch is how many rows are copied between two reports of progress.
const batch = 20_000

// copy copies everything, and compares it with the old database.
func (c *carrier) copy(ctx context.Context, progress *progress) error {
	for _, table := range slices.Sorted(maps.Keys(c.old.tables)) {
		err := c.copyTable(ctx, table, progress)
		if err == nil {
			err = c.compare(ctx, table)
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
	}
	if err := checkFullText(ctx, c.conn); err != nil {
		return err
	}
	if _, err := c.conn.ExecContext(ctx, `DETACH DATABASE old`); err != nil {
		return err
	}
	if err := sqlitefile.Check(ctx, c.conn); err != nil {
		return err
	}
	// A commit that SQLite syncs, and with it the whole file.
	_, err := c.conn.ExecContext(ctx, `PRAGMA synchronous = full; PRAGMA user_version = 0`)
	return err
}

// copyTable copies the rows of a table, with their row ids.
func (c *carrier) copyTable(ctx context.Context, table string, progress *progress) error {
	var stored []string
	for _, column := range slices.Sorted(maps.Keys(c.old.tables[table])) {
		if c.new.tables[table][column] {
			stored = append(stored, quoted(column))
		}
	}
	list := strings.Join(append([]string{"rowid"}, stored...), ", ")
	// A new schema comes with rows of its own.
	if _, err := c.conn.ExecContext(ctx, `DELETE FROM main.`+quoted(table)); err != nil {
		return err
	}
	for last := int64(-1 << 63); ; {
		var upTo sql.NullInt64
		err := c.conn.QueryRowContext(ctx, fmt.Sprintf(`SELECT max(rowid) FROM (SELECT rowid FROM old.%s WHERE rowid > $1 ORDER BY rowid LIMIT %d)`, quoted(table), batch), last).Scan(&upTo)
		if err != nil || !upTo.Valid {
			return err
		}
		result, err := c.conn.ExecContext(ctx, fmt.Sprintf(`INSERT INTO main.%s (%s) SELECT %s FROM old.%s WHERE rowid > $1 AND rowid <= $2`, quoted(table), list, list, quoted(table)), last, upTo.Int64)
		if err != nil {
			return err
		}
		copied, err := result.RowsAffected()
		if err != nil {
			return err
		}
		progress.add(copied)
		last = upTo.Int64
	}
}

// compare returns an error unless a table has the same rows in both databases, with
// the same values in all columns that the old one has, generated ones included.
func (c *carrier) compare(ctx context.Context, table string) error {
	var differs []string
	for _, column := range slices.Sorted(maps.Keys(c.old.tables[table])) {
		differs = append(differs, fmt.Sprintf("o.%s IS NOT n.%s", quoted(column), quoted(column)))
	}
	var before, after, other int64
	err := c.conn.QueryRowContext(ctx, fmt.Sprintf(`SELECT (SELECT count(*) FROM old.%[1]s), (SELECT count(*) FROM main.%[1]s),
		(SELECT count(*) FROM old.%[1]s AS o LEFT JOIN main.%[1]s AS n ON n.rowid = o.rowid WHERE n.rowid IS NULL OR %[2]s)`,
		quoted(table), strings.Join(differs, " OR "))).Scan(&before, &after, &other)
	if err != nil {
		return err
	}
	if before != after || other != 0 {
		return fmt.Errorf("%d rows became %d, of which %d differ", before, after, other)
	}
	return nil
}

// checkFullText checks that the full-text indexes fit the rows: without the rank, SQLite
// would only compare an index with itself.
func checkFullText(ctx context.Context, conn *sql.Conn) error {
	var indexes []string
	err := eachRow(ctx, conn, `SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'virtual'`, func(scan scanner) error {
		var name string
		err := scan(&name)
		indexes = append(indexes, name)
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range indexes {
		if _, err := conn.ExecContext(ctx, fmt.Sprintf(`INSERT INTO main.%[1]s (%[1]s, rank) VALUES ('integrity-check', 1)`, quoted(name))); err != nil {
			return fmt.Errorf("index %s: %w", name, err)
		}
	}
	return nil
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
