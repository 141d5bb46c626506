package audit

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/ledger/ledgertest"
)

// newPostgresLedger returns the URL of a new ledger in which order 1 is charged.
func newPostgresLedger(t *testing.T) string {
	t.Helper()
	where := ledgertest.PostgresURL(t)
	chargeFirst(t, where)
	return where
}

func chargeFirst(t *testing.T, where string) {
	t.Helper()
	l, err := ledger.Open(context.Background(), where)
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Charge(context.Background(), coffee.Charge{OrderID: "1", RunID: "run", Amount: 525})
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestPostgresDefinitions: what the audit demands of a ledger is what a new one has.
func TestPostgresDefinitions(t *testing.T) {
	t.Parallel()
	testDefinitions(t, newPostgresLedger(t), "postgres.txt")
}

// TestPostgresSafeguards weakens or removes the ledger's protections one by one.
func TestPostgresSafeguards(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string]string{
		``: "",
		`DROP TRIGGER ledger_entries_append_only ON ledger_entries`:                                                                                                                                      "trigger ledger_entries_append_only",
		`ALTER TABLE ledger_entries DISABLE TRIGGER ledger_entries_append_only`:                                                                                                                          "trigger ledger_entries_append_only",
		`ALTER TABLE ledger_entries ENABLE TRIGGER ledger_entries_append_only`:                                                                                                                           "trigger ledger_entries_append_only",
		`ALTER TABLE ledger_entries ENABLE REPLICA TRIGGER ledger_entries_append_only`:                                                                                                                   "trigger ledger_entries_append_only",
		`DO $$BEGIN EXECUTE (SELECT replace(pg_get_functiondef('ledger_refuse_change'::regproc), 'RAISE EXCEPTION', 'RAISE NOTICE')); END$$`:                                                             "function ledger_refuse_change",
		`DO $$BEGIN EXECUTE (SELECT replace(pg_get_functiondef('ledger_check_delivery'::regproc), 'RAISE EXCEPTION', 'RAISE NOTICE')); END$$`:                                                            "function ledger_check_delivery",
		`ALTER FUNCTION ledger_check_delivery() RESET search_path`:                                                                                                                                       "function ledger_check_delivery",
		`ALTER FUNCTION ledger_check_delivery() SECURITY DEFINER`:                                                                                                                                        "function ledger_check_delivery",
		`DROP INDEX ledger_entries_first; CREATE UNIQUE INDEX ledger_entries_first ON ledger_entries (order_id, kind)`:                                                                                   "index ledger_entries_first",
		`ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_amount, ADD CONSTRAINT ledger_entries_amount CHECK (CASE kind WHEN 'void' THEN amount_cents = 0 ELSE amount_cents > 0 END OR true)`:   "constraint ledger_entries_amount",
		`ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_amount, ADD CONSTRAINT ledger_entries_amount CHECK (CASE kind WHEN 'void' THEN amount_cents = 0 ELSE amount_cents > 0 END) NOT VALID`: "constraint ledger_entries_amount",
		`DROP INDEX ledger_entries_first`:                                                                                           "index ledger_entries_first",
		`DROP TRIGGER ledger_entries_delivered ON ledger_entries`:                                                                   "trigger ledger_entries_delivered",
		`DROP TRIGGER ledger_deliveries_paid ON ledger_deliveries`:                                                                  "trigger ledger_deliveries_paid",
		`ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_pkey CASCADE`:                                                    "constraint ledger_deliveries_charge constraint ledger_entries_pkey",
		`ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_refund`:                                                          "constraint ledger_entries_refund",
		`ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_kind`:                                                            "constraint ledger_entries_kind",
		`ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_key CASCADE`:                                                     "constraint ledger_entries_key constraint ledger_entries_refund",
		`ALTER TABLE ledger_entries ALTER COLUMN amount_cents DROP NOT NULL`:                                                        "column ledger_entries.amount_cents",
		`ALTER TABLE ledger_entries ENABLE ROW LEVEL SECURITY`:                                                                      "table ledger_entries",
		`CREATE RULE loss AS ON INSERT TO ledger_deliveries DO INSTEAD NOTHING`:                                                     "rule loss",
		`CREATE TRIGGER loss BEFORE INSERT ON ledger_deliveries FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()`: "function suppress_redundant_updates_trigger trigger loss",
		`ALTER TABLE ledger_schema DROP CONSTRAINT ledger_schema_pkey`:                                                              "constraint ledger_schema_pkey",
		`CREATE INDEX by_run ON ledger_entries (run_id)`:                                                                            "",
	} {
		where := newPostgresLedger(t)
		if _, err := ledgertest.OpenPostgres(t, where).Exec(statement); err != nil {
			t.Fatal(statement, err)
		}
		book := openBook(t, where)
		wantMissing(t, book, statement, want)
		if err := book.each(context.Background(), func(_ string, all []Row) error {
			if len(all) != 1 || all[0].RecordedAt.IsZero() || rows(all).net() != 525 {
				t.Errorf("%s: got %v", statement, all)
			}
			return nil
		}); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
		if rows, err := book.of(context.Background(), "1"); err != nil || len(rows) != 1 {
			t.Errorf("%s: got %v, %v", statement, rows, err)
		}
	}
}

// TestPostgresDisabledForeignKeys: the triggers of foreign keys can be switched off, for a
// table and for a role.
func TestPostgresDisabledForeignKeys(t *testing.T) {
	t.Parallel()
	where := ledgertest.DatabaseURL(t) // its own, because the role's setting would be found in other schemas, too
	chargeFirst(t, where)
	role := ledgertest.NewRole(t, where)
	db := ledgertest.OpenPostgres(t, where)
	if _, err := db.Exec(`ALTER TABLE ledger_deliveries DISABLE TRIGGER ALL; ALTER TABLE ledger_deliveries ENABLE ALWAYS TRIGGER ledger_deliveries_append_only, ENABLE ALWAYS TRIGGER ledger_deliveries_paid`); err != nil {
		t.Fatal(err)
	}
	missing, err := openBook(t, where).missing(context.Background())
	if err != nil || len(missing) != 2 || !strings.HasPrefix(missing[0], "disabled trigger RI_ConstraintTrigger") {
		t.Errorf("got %q, %v", missing, err)
	}
	if _, err := db.Exec(`ALTER TABLE ledger_deliveries ENABLE TRIGGER ALL; ALTER TABLE ledger_deliveries ENABLE ALWAYS TRIGGER ledger_deliveries_append_only, ENABLE ALWAYS TRIGGER ledger_deliveries_paid; DO $$BEGIN EXECUTE 'ALTER ROLE ` + role + ` IN DATABASE ' || current_database() || ' SET session_replication_role = replica'; END$$`); err != nil {
		t.Fatal(err)
	}
	missing, err = openBook(t, where).missing(context.Background())
	if want := "setting session_replication_role=replica of role " + role; err != nil || !slices.Contains(missing, want) {
		t.Errorf("got %q, %v; want %s", missing, err, want)
	}
}

// TestPostgresSettings: whatever the settings of the audit's session and the name of the
// schema are, what guards the ledger is found.
func TestPostgresSettings(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{"new", "old", "what a schema", `a"quote`, `back\slash`} {
		u, err := url.Parse(ledgertest.DatabaseURL(t))
		if err != nil {
			t.Fatal(err)
		}
		query := u.Query()
		quoted := `"` + strings.ReplaceAll(schema, `"`, `""`) + `"`
		query.Set("search_path", quoted)
		u.RawQuery = query.Encode()
		if _, err := ledgertest.OpenPostgres(t, u.String()).Exec(`CREATE SCHEMA ` + quoted); err != nil {
			t.Fatal(err)
		}
		chargeFirst(t, u.String())
		for name, value := range map[string]string{"": "", "standard_conforming_strings": "off", "quote_all_identifiers": "on", "DateStyle": "German", "bytea_output": "escape"} {
			with := u.Query()
			if name != "" {
				with.Set(name, value)
			}
			u.RawQuery = with.Encode()
			wantMissing(t, openBook(t, u.String()), schema+" "+name, "")
		}
	}
}

// TestPostgresBookThatIsNone: an error is in one line, says what is missing, and repeats
// nothing.
func TestPostgresBookThatIsNone(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	where := ledgertest.PostgresURL(t)
	if _, err := OpenBook(ctx, where); !errors.Is(err, ledger.ErrNoLedger) || err.Error() != "cannot read the ledger: there is no ledger" {
		t.Errorf("got %v", err)
	}
	database := ledgertest.DatabaseURL(t)
	chargeFirst(t, database)
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(ledgertest.NewRole(t, database))
	for where, want := range map[string]string{
		u.String():                          "its role needs USAGE of the schema, SELECT",
		"postgres://u:secret@127.0.0.1:1/x": "connection refused",
	} {
		_, err := OpenBook(ctx, where)
		if err == nil || strings.Count(err.Error(), want) != 1 || strings.ContainsAny(err.Error(), "\n\t") || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	}
}
