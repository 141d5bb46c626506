package audit

import (
	"context"
	"database/sql"
	_ "embed"
	"slices"
	"strings"
)

// sqliteDefinitions and postgresDefinitions are what guards a ledger, as the database words
// it: a line each, with the name in front. TestDefinitions compares them with a new
// ledger, and writes them with -update.
var (
	//go:embed sqlite.txt
	sqliteDefinitions string
	//go:embed postgres.txt
	postgresDefinitions string
)

// safeguards are the constraints and triggers of a ledger.
type safeguards struct {
	query string // returns the names and the definitions of those in force
	args  []any
	want  string
}

// missing returns the names of what guards a ledger and is not there as it should be,
// and of what is there and should not be: a trigger, a rule or a setting can undo the rest.
func (s safeguards) missing(ctx context.Context, tx *sql.Tx) (differ []string, err error) {
	got, err := s.definitions(ctx, tx)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(s.want) {
		name, definition, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if got[name] != definition {
			differ = append(differ, name)
		}
		delete(got, name)
	}
	for name := range got {
		if !strings.HasPrefix(name, "index ") && !strings.HasPrefix(name, "constraint ") {
			differ = append(differ, name)
		}
	}
	slices.Sort(differ)
	return differ, nil
}

// definitions returns the definitions in force, by name, each in one line.
func (s safeguards) definitions(ctx context.Context, tx *sql.Tx) (map[string]string, error) {
	rows, err := tx.QueryContext(ctx, s.query, s.args...)
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

const sqliteQuery = `SELECT type || ' ' || name, COALESCE(sql, 'automatic') FROM sqlite_schema`

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
