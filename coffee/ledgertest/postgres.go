// Package ledgertest has what the tests of several packages need to work with a
// ledger in PostgreSQL.
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

// PostgresURL is the URL of a new, empty schema, which is dropped when the test
// ends. Without a database the test is skipped; in CI, it fails.
func PostgresURL(t testing.TB) string {
	t.Helper()
	base := os.Getenv(PostgresVariable)
	if base == "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not set, and in CI no test is skipped", PostgresVariable)
		}
		t.Skipf("needs a PostgreSQL database: set %s to its URL", PostgresVariable)
	}
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

// OpenPostgres opens a PostgreSQL database until the test ends.
func OpenPostgres(t testing.TB, databaseURL string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}
