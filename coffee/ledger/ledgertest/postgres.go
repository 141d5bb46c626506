// Package ledgertest helps the tests of several packages use a ledger in
// PostgreSQL.
package ledgertest

import (
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// PostgresVariable names the environment variable with the URL of a PostgreSQL
// database that tests may create schemas in.
const PostgresVariable = "COFFEE_TEST_POSTGRES"

// PostgresURL returns the URL of a new, empty schema, which is dropped when the
// test ends. Without a database it skips the test; in CI, it fails the test.
func PostgresURL(t testing.TB) string {
	t.Helper()
	base := variable(t, PostgresVariable)
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	schema := "test_" + strings.ToLower(rand.Text())
	db := OpenPostgres(t, base)
	if _, err := db.Exec(`CREATE SCHEMA ` + schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec(`DROP SCHEMA ` + schema + ` CASCADE`); err != nil {
			t.Error(err)
		}
	})
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return u.String()
}

// PoolerVariable names the environment variable with the URL of a PgBouncer in
// transaction mode, in front of the server of [PostgresVariable].
const PoolerVariable = "COFFEE_TEST_PGBOUNCER"

// PoolerURL returns the URL of a new, empty database behind a connection pooler.
// The database is dropped when the test ends. Without a pooler it skips the test;
// in CI, it fails the test.
func PoolerURL(t testing.TB) string {
	t.Helper()
	u, err := url.Parse(variable(t, PoolerVariable))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = newDatabase(t)
	return u.String()
}

// DatabaseURL returns the URL of a new, empty database, which is dropped when the test
// ends. It is for tests of what is not in a schema.
func DatabaseURL(t testing.TB) string {
	t.Helper()
	u, err := url.Parse(variable(t, PostgresVariable))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = newDatabase(t)
	return u.String()
}

// newDatabase returns the name of a new database, which is dropped when the test ends.
func newDatabase(t testing.TB) string {
	t.Helper()
	db := OpenPostgres(t, variable(t, PostgresVariable))
	name := "test_" + strings.ToLower(rand.Text())
	if _, err := db.Exec(`CREATE DATABASE ` + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A pooler keeps its connections for a while.
		if _, err := db.Exec(`DROP DATABASE ` + name + ` WITH (FORCE)`); err != nil {
			t.Error(err)
		}
	})
	return name
}

// NewRole returns the name of a new role that can log in and may do nothing. It is
// dropped when the test ends, with what it was granted in the database.
func NewRole(t testing.TB, databaseURL string) string {
	t.Helper()
	db := OpenPostgres(t, databaseURL)
	role := "test_" + strings.ToLower(rand.Text())
	if _, err := db.Exec(`CREATE ROLE ` + role + ` LOGIN`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec(`DROP OWNED BY ` + role + ` CASCADE; DROP ROLE ` + role); err != nil {
			t.Error(err)
		}
	})
	return role
}

// variable returns the value of an environment variable. If that is not set, it
// skips the test; in CI, it fails the test.
func variable(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not set, and in CI no test is skipped", name)
		}
		t.Skipf("needs a PostgreSQL database: set %s to its URL", name)
	}
	return value
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
