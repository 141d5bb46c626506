package audit

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"example.com/coffee/coffee/ledger"
	"example.com/coffee/internal/tempdir"
)

// differing returns the names of what guards a ledger and is not there as it should be,
// and of what is there and should not be: a trigger, a rule or a setting can undo the rest.
func differing(got, want map[string]string) []string {
	var differ []string
	for name, definition := range want {
		if got[name] != definition {
			differ = append(differ, name)
		}
	}
	for name := range got {
		if _, known := want[name]; !known && !strings.HasPrefix(name, "index ") && !strings.HasPrefix(name, "constraint ") {
			differ = append(differ, name)
		}
	}
	slices.Sort(differ)
	return differ
}

// sqliteSafeguards compares what is in the database, word for word, with what is in a new
// ledger. It returns the objects that differ.
func sqliteSafeguards(ctx context.Context, db querier) (_ []string, err error) {
	dir, err := tempdir.Make("audit")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dir.Remove()) }()
	path := filepath.Join(dir.Path(), "ledger.db")
	ledger, err := ledger.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := ledger.Close(); err != nil {
		return nil, err
	}
	pristine, err := sql.Open("sqlite", sqliteDSN(path))
	if err != nil {
		return nil, err
	}
	defer pristine.Close()
	const query = `SELECT type || ' ' || name, COALESCE(sql, 'automatic') FROM sqlite_schema`
	want, err := definitions(ctx, pristine, query)
	if err != nil {
		return nil, err
	}
	got, err := definitions(ctx, db, query)
	if err != nil {
		return nil, err
	}
	return differing(got, want), nil
}

// postgresDefinitions is what guards a ledger in PostgreSQL, as the database words it: a
// line each, with the name in front. TestPostgresDefinitions compares it with a new
// ledger, and writes it with -update.
//
//go:embed postgres.txt
var postgresDefinitions string

// postgresQuery returns what guards the ledger in a schema. The search path has to be that
// schema, so that names in it are not qualified.
const postgresQuery = `
	WITH t AS (
		SELECT c.oid, c.relname::text AS name, c.relkind::text AS kind, c.relpersistence::text AS persistence, c.relrowsecurity AS policies
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname IN ('ledger_schema', 'ledger_owner', 'ledger_entries', 'ledger_deliveries')
	)
	SELECT 'table ' || name, pg_catalog.concat_ws(' ', kind, persistence, policies) FROM t
	UNION ALL
	SELECT 'column ' || name || '.' || attname, pg_catalog.concat_ws(' ', pg_catalog.format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, pg_catalog.pg_get_expr(adbin, adrelid))
	FROM t JOIN pg_catalog.pg_attribute ON attrelid = t.oid AND attnum > 0 AND NOT attisdropped
		LEFT JOIN pg_catalog.pg_attrdef ON adrelid = attrelid AND adnum = attnum
	UNION ALL
	SELECT 'constraint ' || conname, pg_catalog.concat_ws(' ', name, pg_catalog.pg_get_constraintdef(c.oid), convalidated)
	FROM t JOIN pg_catalog.pg_constraint c ON conrelid = t.oid WHERE contype IN ('p', 'u', 'f', 'c')
	UNION ALL
	SELECT 'index ' || relname, pg_catalog.concat_ws(' ', pg_catalog.pg_get_indexdef(indexrelid, 0, true), indisvalid)
	FROM t JOIN pg_catalog.pg_index ON indrelid = t.oid JOIN pg_catalog.pg_class i ON i.oid = indexrelid
	WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conindid = indexrelid)
	UNION ALL
	SELECT 'trigger ' || tgname, pg_catalog.concat_ws(' ', pg_catalog.pg_get_triggerdef(g.oid, true), tgenabled)
	FROM t JOIN pg_catalog.pg_trigger g ON tgrelid = t.oid WHERE NOT tgisinternal
	UNION ALL
	SELECT 'disabled trigger ' || tgname || ' of a foreign key', ''
	FROM t JOIN pg_catalog.pg_trigger ON tgrelid = t.oid WHERE tgisinternal AND tgenabled NOT IN ('O', 'A')
	UNION ALL
	SELECT DISTINCT 'function ' || proname, pg_catalog.concat_ws(' ', prosecdef, provolatile,
		proconfig = ARRAY['search_path=' || pg_catalog.quote_ident($1) || ', pg_temp'], prosrc)
	FROM t JOIN pg_catalog.pg_trigger ON tgrelid = t.oid JOIN pg_catalog.pg_proc p ON p.oid = tgfoid WHERE NOT tgisinternal
	UNION ALL
	SELECT 'rule ' || rulename, '' FROM t JOIN pg_catalog.pg_rewrite ON ev_class = t.oid
	UNION ALL
	SELECT 'setting ' || setting || ' of ' || COALESCE('role ' || rolname, 'all roles'), ''
	FROM pg_catalog.pg_db_role_setting LEFT JOIN pg_catalog.pg_roles r ON r.oid = setrole, pg_catalog.unnest(setconfig) AS setting
	WHERE setting LIKE 'session_replication_role=%' AND setting <> 'session_replication_role=origin'
		AND setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database d WHERE datname = pg_catalog.current_database()))`

// postgresSafeguards asks PostgreSQL for the definitions in force of what guards the
// ledger in a schema. It returns the objects that differ.
func postgresSafeguards(ctx context.Context, db querier, schema string) ([]string, error) {
	got, err := definitions(ctx, db, postgresQuery, schema)
	if err != nil {
		return nil, err
	}
	want := map[string]string{}
	for line := range strings.Lines(postgresDefinitions) {
		name, definition, _ := strings.Cut(strings.TrimSpace(line), ": ")
		want[name] = definition
	}
	return differing(got, want), nil
}

// definitions returns the definitions that a query finds, by name, each in one line.
func definitions(ctx context.Context, db querier, query string, args ...any) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	read := map[string]string{}
	for rows.Next() {
		var name, definition string
		if err := rows.Scan(&name, &definition); err != nil {
			return nil, err
		}
		read[name] = oneLine(definition)
	}
	return read, rows.Err()
}
