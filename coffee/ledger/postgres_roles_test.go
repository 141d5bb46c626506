package ledger

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger/ledgertest"
)

// as returns a URL with another role.
func as(t *testing.T, where, role string) string {
	t.Helper()
	u, err := url.Parse(where)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	return u.String()
}

// inSchema returns the URL of a database with a search path.
func inSchema(t *testing.T, where, path string) string {
	t.Helper()
	u, err := url.Parse(where)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("search_path", path)
	u.RawQuery = query.Encode()
	return u.String()
}

func mustExec(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// leastRole returns a new role with what docs/operating.md says that workers need, in a
// database whose ledger is in the schema public.
func leastRole(t *testing.T, where string) string {
	t.Helper()
	role := ledgertest.NewRole(t, where)
	mustExec(t, ledgertest.OpenPostgres(t, where), `GRANT USAGE ON SCHEMA public TO `+role,
		`GRANT SELECT, INSERT ON ledger_schema, ledger_owner, ledger_entries, ledger_deliveries TO `+role)
	return role
}

// delivered charges and delivers order 1, and charges order 2.
func delivered(t *testing.T, ledger Store) {
	t.Helper()
	ctx := context.Background()
	for _, id := range []string{"1", "2"} {
		if _, err := ledger.Charge(ctx, coffee.Charge{OrderID: id, RunID: "run", Amount: 525}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ledger.Deliver(ctx, "1"); err != nil {
		t.Fatal(err)
	}
}

// TestPostgresLeastRole: a role that may only read and insert can do all that a worker
// does.
func TestPostgresLeastRole(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	where := ledgertest.DatabaseURL(t)
	openLedger(t, where)
	ledger := openLedger(t, as(t, where, leastRole(t, where)))
	delivered(t, ledger)
	_, refund := ledger.Refund(ctx, "2", "run")
	owner := Owner{NamespaceID: "a", Namespace: "default"}
	if err := errors.Join(refund, ledger.Ready(ctx), ledger.Bind(ctx, owner), ledger.Bind(ctx, owner)); err != nil {
		t.Error(err)
	}
}

// TestPostgresRolesThatLackSomething: an error says what a role lacks, and is none to wait
// for.
func TestPostgresRolesThatLackSomething(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for revoke, opens := range map[string]bool{
		`REVOKE SELECT ON ledger_schema`:     false,
		`REVOKE INSERT ON ledger_entries`:    true,
		`REVOKE SELECT ON ledger_deliveries`: true,
	} {
		where := ledgertest.DatabaseURL(t)
		openLedger(t, where)
		role := leastRole(t, where)
		mustExec(t, ledgertest.OpenPostgres(t, where), revoke+` FROM `+role)
		ledger, err := Open(ctx, as(t, where, role))
		if (err == nil) != opens {
			t.Errorf("%s: got %v", revoke, err)
		}
		if err == nil {
			err = ledger.Ready(ctx)
			ledger.Close()
		}
		if err == nil || IsUnavailable(err) || !strings.Contains(err.Error(), "needs USAGE of the schema, SELECT and INSERT on the tables") {
			t.Errorf("%s: got %v", revoke, err)
		}
	}
}

// TestPostgresStrangersFunctions: what somebody else creates in a schema of the search path
// is not called by a worker, nor by the triggers.
func TestPostgresStrangersFunctions(t *testing.T) {
	t.Parallel()
	where := ledgertest.DatabaseURL(t)
	admin := ledgertest.OpenPostgres(t, where)
	stranger := ledgertest.NewRole(t, where)
	mustExec(t, admin, `GRANT CREATE ON SCHEMA public TO `+stranger)
	var evil []string
	for _, function := range []string{
		"hashtextextended(text, integer) RETURNS bigint", "hashtextextended(text, bigint) RETURNS bigint", "hashtextextended(varchar, integer) RETURNS bigint",
		"pg_advisory_xact_lock(bigint) RETURNS void", "pg_advisory_xact_lock(numeric) RETURNS void", "set_config(text, text, boolean) RETURNS text",
		"set_config(varchar, varchar, boolean) RETURNS text", "current_setting(text) RETURNS text", "current_setting(varchar) RETURNS text",
		"now() RETURNS timestamptz", "quote_ident(text) RETURNS text", "current_schema() RETURNS name",
		"differ(text, text) RETURNS boolean", "differ(text, varchar) RETURNS boolean", "glue(text, varchar) RETURNS text", "glue(varchar, text) RETURNS text", "glue(varchar, varchar) RETURNS text",
	} {
		evil = append(evil, `CREATE FUNCTION public.`+function+` LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'taken over'; END$$`)
	}
	evil = append(evil, `CREATE OPERATOR public.= (FUNCTION = public.differ, LEFTARG = text, RIGHTARG = varchar)`,
		`CREATE OPERATOR public.<> (FUNCTION = public.differ, LEFTARG = text, RIGHTARG = text)`,
		`CREATE OPERATOR public.|| (FUNCTION = public.glue, LEFTARG = text, RIGHTARG = varchar)`,
		`CREATE OPERATOR public.|| (FUNCTION = public.glue, LEFTARG = varchar, RIGHTARG = text)`,
		`CREATE OPERATOR public.|| (FUNCTION = public.glue, LEFTARG = varchar, RIGHTARG = varchar)`)
	mustExec(t, ledgertest.OpenPostgres(t, as(t, where, stranger)), evil...)
	ledger := openLedger(t, where)
	delivered(t, ledger)
	if _, err := ledger.Refund(context.Background(), "2", "run"); err != nil {
		t.Error(err)
	}
	if err := ledger.Ready(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestPostgresTemporaryTables: a session's temporary tables stand in for none of the
// ledger's.
func TestPostgresTemporaryTables(t *testing.T) {
	t.Parallel()
	where := ledgertest.DatabaseURL(t)
	delivered(t, openLedger(t, where))
	db := ledgertest.OpenPostgres(t, as(t, where, leastRole(t, where)))
	db.SetMaxOpenConns(1) // one session
	mustExec(t, db, `CREATE TEMP TABLE ledger_deliveries (order_id text)`, `CREATE TEMP TABLE ledger_entries (order_id text, kind text, run_id text)`,
		`INSERT INTO pg_temp.ledger_entries VALUES ('3', 'charge', 'run')`)
	for _, statement := range []string{
		`INSERT INTO public.ledger_entries (order_id, kind, amount_cents, run_id, recorded_at) VALUES ('1', 'refund', 525, 'run', now())`,
		`INSERT INTO public.ledger_deliveries (order_id, run_id, recorded_at) VALUES ('3', 'run', now())`,
	} {
		if _, err := db.Exec(statement); err == nil {
			t.Errorf("the database accepted: %s", statement)
		}
	}
}

// TestPostgresSessionReplicationRole: the ledger's own triggers fire all the same, and a
// worker of such a role, whose foreign keys are off, does not begin.
func TestPostgresSessionReplicationRole(t *testing.T) {
	t.Parallel()
	where := ledgertest.DatabaseURL(t)
	delivered(t, openLedger(t, where))
	u, err := url.Parse(where)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("session_replication_role", "replica") // a superuser may
	u.RawQuery = query.Encode()
	db := ledgertest.OpenPostgres(t, u.String())
	for _, statement := range []string{
		`INSERT INTO ledger_entries (order_id, kind, amount_cents, run_id, recorded_at) VALUES ('1', 'refund', 525, 'run', now())`,
		`DELETE FROM ledger_deliveries`, `UPDATE ledger_entries SET amount_cents = 1`, `DELETE FROM ledger_owner`, `UPDATE ledger_schema SET ledger_id = 'x'`,
	} {
		if _, err := db.Exec(statement); err == nil {
			t.Errorf("the database accepted: %s", statement)
		}
	}
	if _, err := Open(context.Background(), u.String()); err == nil || !strings.Contains(err.Error(), "session_replication_role is replica") {
		t.Errorf("got %v", err)
	}
}

// TestPostgresSecondShop: a shop whose schema comes first has a ledger of its own, although
// another one is in its search path. A schema that does not exist is none.
func TestPostgresSecondShop(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	where := ledgertest.DatabaseURL(t)
	first := openLedger(t, where)
	delivered(t, first)
	mustExec(t, ledgertest.OpenPostgres(t, where), `CREATE SCHEMA second`)
	if _, err := OpenExisting(ctx, inSchema(t, where, "second,public")); !errors.Is(err, ErrNoLedger) {
		t.Errorf("got %v", err)
	}
	second := openLedger(t, inSchema(t, where, "second,public"))
	if balance, err := second.Balance(ctx); err != nil || balance != (Balance{}) || second.ID() == first.ID() {
		t.Errorf("got %+v, %v", balance, err)
	}
	delivered(t, second)
	if _, err := Open(ctx, inSchema(t, where, "third")); err == nil || IsUnavailable(err) || !strings.Contains(err.Error(), "no schema of its search_path exists") {
		t.Errorf("got %v", err)
	}
}

// TestPostgresReplacedWhileOpen: the tables are replaced by a copy of themselves, as by a
// restore. Nothing is written then, and no order is refused for good.
func TestPostgresReplacedWhileOpen(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	where := ledgertest.DatabaseURL(t)
	ledger := openLedger(t, where)
	delivered(t, ledger)
	db := ledgertest.OpenPostgres(t, where)
	mustExec(t, db, `ALTER SCHEMA public RENAME TO old`, `CREATE SCHEMA public`)
	copied := openLedger(t, where)
	mustExec(t, db, `ALTER TABLE ledger_schema DISABLE TRIGGER ledger_schema_forward`, `UPDATE ledger_schema SET ledger_id = '`+ledger.ID()+`'`)
	_, charge := ledger.Charge(ctx, coffee.Charge{OrderID: "3", RunID: "run", Amount: 525})
	_, refund := ledger.Refund(ctx, "2", "run")
	_, paid := ledger.Paid(ctx, "1")
	for step, err := range map[string]error{"charge": charge, "refund": refund, "paid": paid, "delivery": ledger.Deliver(ctx, "2"), "ready": ledger.Ready(ctx)} {
		if err == nil || coffee.IsRefusal(err) || !strings.Contains(err.Error(), "replaced while it was open") {
			t.Errorf("%s: got %v", step, err)
		}
	}
	if balance, err := copied.Balance(ctx); err != nil || balance != (Balance{}) {
		t.Errorf("got %+v, %v", balance, err)
	}
}

// TestPostgresHalfALedger: a ledger of which something was dropped is not begun anew.
func TestPostgresHalfALedger(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string]string{
		`DROP TABLE ledger_entries CASCADE`: "there is no ledger_entries",
		`DROP TABLE ledger_schema`:          "there is no ledger_schema",
		`DROP TABLE ledger_owner`:           "there is no ledger_owner",
		`DROP TRIGGER ledger_schema_stays ON ledger_schema; DELETE FROM ledger_schema`: "ledger_schema is empty",
		// The functions are left, and do not stand in the way of a new one.
		`DROP TABLE ledger_schema, ledger_owner, ledger_entries, ledger_deliveries`: "",
	} {
		where := ledgertest.PostgresURL(t)
		openLedger(t, where)
		mustExec(t, ledgertest.OpenPostgres(t, where), statement)
		ledger, err := Open(context.Background(), where)
		if want == "" && err == nil {
			ledger.Close()
			continue
		}
		if err == nil || want == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", statement, err)
		}
	}
}

// TestPostgresOneIdentity: a ledger has one version and one owner, which nobody changes.
func TestPostgresOneIdentity(t *testing.T) {
	t.Parallel()
	where := ledgertest.PostgresURL(t)
	testOneIdentity(t, openLedger(t, where), ledgertest.OpenPostgres(t, where), `TRUNCATE ledger_owner`, `TRUNCATE ledger_schema`)
}

// TestPostgresBindsOnce: of owners that bind a ledger at once, one gets it.
func TestPostgresBindsOnce(t *testing.T) {
	t.Parallel()
	where := ledgertest.PostgresURL(t)
	testBindsOnce(t, openLedger(t, where), openLedger(t, where))
}

// TestPostgresReadOnly: a database that takes no writes is not ready, and is waited for. A
// connection that it has refused a write on is not used again.
func TestPostgresReadOnly(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	where := ledgertest.DatabaseURL(t)
	openLedger(t, where)
	role := leastRole(t, where)
	admin := ledgertest.OpenPostgres(t, where)
	ledger := openLedger(t, as(t, where, role))
	if err := ledger.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	// As if the server had been demoted under the connection that is open.
	if _, err := ledger.(*sqlLedger).db.Exec(`SET default_transaction_read_only = on`); err != nil {
		t.Fatal(err)
	}
	if err := ledger.Ready(ctx); !errors.Is(err, errReadOnly) || !IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
	if _, err := ledger.Charge(ctx, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525}); err != nil {
		t.Errorf("on another connection: %v", err)
	}
	mustExec(t, admin, `ALTER ROLE `+role+` SET default_transaction_read_only = on`)
	if opened, err := Open(ctx, as(t, where, role)); !errors.Is(err, errReadOnly) || !IsUnavailable(err) {
		t.Errorf("got %v, %v", opened, err)
	}
	mustExec(t, admin, `ALTER ROLE `+role+` RESET default_transaction_read_only`)
	if err := openLedger(t, as(t, where, role)).Ready(ctx); err != nil {
		t.Error(err)
	}
}

// TestPostgresStrangersLock: a stranger holds the lock of an order. The call ends, and says
// what it waited for.
func TestPostgresStrangersLock(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	where := ledgertest.DatabaseURL(t)
	ledger := openLedger(t, where)
	stranger, err := ledgertest.OpenPostgres(t, as(t, where, ledgertest.NewRole(t, where))).Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.ExecContext(ctx, `SELECT pg_advisory_lock(hashtextextended('coffee ledger 1', 0))`); err != nil {
		t.Fatal(err)
	}
	_, err = ledger.Charge(ctx, coffee.Charge{OrderID: "1", RunID: "run", Amount: 525})
	if err == nil || coffee.IsRefusal(err) || !IsUnavailable(err) || !strings.Contains(err.Error(), "another session holds a lock that it needs, see pg_locks") {
		t.Errorf("got %v", err)
	}
	if _, err := ledger.Charge(ctx, coffee.Charge{OrderID: "2", RunID: "run", Amount: 525}); err != nil {
		t.Error(err)
	}
}

// TestPostgresDataOnlyRestore: the data of a ledger, restored into a new one, brings the
// deliveries with it. The new one keeps its own id, so no worker takes it for the old one.
func TestPostgresDataOnlyRestore(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"pg_dump", "psql"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	ctx := context.Background()
	from, to := ledgertest.DatabaseURL(t), ledgertest.DatabaseURL(t)
	old := openLedger(t, from)
	delivered(t, old)
	if _, err := old.Refund(ctx, "2", "run"); err != nil {
		t.Fatal(err)
	}
	restored := openLedger(t, to)
	dump, err := exec.Command("pg_dump", "--data-only", from).Output()
	if err != nil {
		t.Fatal(err)
	}
	psql := exec.Command("psql", to)
	psql.Stdin = strings.NewReader(string(dump))
	if out, err := psql.CombinedOutput(); err != nil || !strings.Contains(string(out), "ledger_schema_pkey") {
		t.Errorf("got %v\n%s", err, out)
	}
	if _, err := restored.Refund(ctx, "1", "run"); !errors.Is(err, coffee.ErrDelivered) {
		t.Errorf("a refund of a coffee that was handed out: %v", err)
	}
	want, err := old.Balance(ctx)
	if got, err2 := restored.Balance(ctx); err != nil || err2 != nil || got != want || restored.ID() == old.ID() {
		t.Errorf("got %+v, %v, %v; want %+v", got, err, err2, want)
	}
}

// TestIsUnavailable: what may go away by itself is waited for, and nothing else.
func TestIsUnavailable(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a server that hangs up
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	for where, want := range map[string]bool{
		"postgres://u@127.0.0.1:1/x":                                      true,
		"postgres://u@" + listener.Addr().String() + "/x?sslmode=disable": true,
		"postgres://u@no-such-host.invalid/x":                             true,
		"postgres://u@127.0.0.1:1/x?sslmode=nonsense":                     false,
		t.TempDir() + "/no/ledger.db":                                     false,
	} {
		if _, err := Open(ctx, where); err == nil || IsUnavailable(err) != want {
			t.Errorf("%s: got %v", where, err)
		}
	}
}

// TestPostgresIsUnavailable is the same for what a server says.
func TestPostgresIsUnavailable(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(ledgertest.DatabaseURL(t))
	if err != nil {
		t.Fatal(err)
	}
	missing, stranger := *u, *u
	missing.Path, stranger.User = "no_such_database", url.UserPassword("no_such_role", "secret")
	for _, where := range []string{missing.String(), stranger.String()} {
		if _, err := Open(context.Background(), where); err == nil || IsUnavailable(err) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", where, err)
		}
	}
}
