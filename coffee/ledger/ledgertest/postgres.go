// Package ledgertest helps the tests of several packages use a ledger in
// PostgreSQL.
package ledgertest

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// Two environment variables name the databases of the tests. Without one, a test that needs
// it is skipped; in CI, it fails.
const (
	// postgresVariable has the URL of a PostgreSQL database that tests may create schemas,
	// databases and roles in.
	postgresVariable = "COFFEE_TEST_POSTGRES"
	// poolerVariable has the URL of a PgBouncer in transaction mode, in front of its server.
	poolerVariable = "COFFEE_TEST_PGBOUNCER"
)

// PostgresURL returns the URL of a new, empty schema. It is dropped when the test ends, as
// is everything else that this package makes.
func PostgresURL(t testing.TB) string {
	t.Helper()
	u := address(t, postgresVariable)
	query := u.Query()
	query.Set("search_path", create(t, u.String(), "CREATE SCHEMA %s", "DROP SCHEMA %s CASCADE"))
	u.RawQuery = query.Encode()
	return u.String()
}

// PoolerURL returns the URL of a new, empty database behind a connection pooler.
func PoolerURL(t testing.TB) string {
	t.Helper()
	return newDatabase(t, address(t, poolerVariable))
}

// DatabaseURL returns the URL of a new, empty database. It is for tests of what is not in a
// schema.
func DatabaseURL(t testing.TB) string {
	t.Helper()
	return newDatabase(t, address(t, postgresVariable))
}

func newDatabase(t testing.TB, u *url.URL) string {
	t.Helper()
	// A pooler keeps its connections for a while.
	u.Path = create(t, address(t, postgresVariable).String(), "CREATE DATABASE %s", "DROP DATABASE %s WITH (FORCE)")
	return u.String()
}

// NewRole returns the name of a new role that can log in and may do nothing.
func NewRole(t testing.TB, databaseURL string) string {
	t.Helper()
	return create(t, databaseURL, "CREATE ROLE %s LOGIN", "DROP OWNED BY %[1]s CASCADE; DROP ROLE %[1]s")
}

// create makes something with a new name, which it returns, and drops it when the test ends.
func create(t testing.TB, databaseURL, create, drop string) (name string) {
	t.Helper()
	db := OpenPostgres(t, databaseURL)
	name = "test_" + strings.ToLower(rand.Text())
	if _, err := db.Exec(fmt.Sprintf(create, name)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec(fmt.Sprintf(drop, name)); err != nil {
			t.Error(err)
		}
	})
	return name
}

// address returns the URL that an environment variable has.
func address(t testing.TB, variable string) *url.URL {
	t.Helper()
	value := os.Getenv(variable)
	switch {
	case value == "" && os.Getenv("CI") != "":
		t.Fatalf("%s is not set, and in CI no test is skipped", variable)
	case value == "":
		t.Skipf("needs a PostgreSQL database: set %s to its URL", variable)
	}
	u, err := url.Parse(value)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// OpenPostgres opens a PostgreSQL database and closes it when the test ends.
func OpenPostgres(t testing.TB, databaseURL string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}
