// Package ledger implements [coffee.Ledger] in a SQL database: in a SQLite file, in
// memory, or in PostgreSQL.
//
// Read it in this order: this file opens a ledger; sql.go keeps its promises, one
// transaction per call; sqlite.go and postgres.go open the databases, and migrate.go
// brings their schemas to the version that the code knows. Beside each is its schema, whose constraints and triggers refuse whatever would break a
// promise, no matter which program writes to the table.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"example.com/coffee/coffee"
)

// Open opens the ledger at where, a postgres:// URL or the path of a SQLite file.
// It creates what does not exist: the tables in PostgreSQL, if the role may; the
// file, readable only by its owner, in a directory that must exist. A schema of an
// earlier version is brought to [SchemaVersion]. That of a later one is refused with
// [coffee.ErrNewerLedger].
//
// Several processes may share a ledger. Processes on several machines need
// PostgreSQL.
func Open(ctx context.Context, where string, options ...Option) (coffee.Ledger, error) {
	return open(ctx, where, true, options)
}

// OpenExisting is like [Open], but the ledger must exist: if it does not,
// OpenExisting returns [coffee.ErrNoLedger] and creates nothing.
func OpenExisting(ctx context.Context, where string, options ...Option) (coffee.Ledger, error) {
	return open(ctx, where, false, options)
}

func open(ctx context.Context, where string, create bool, options []Option) (coffee.Ledger, error) {
	databaseURL, err := PostgresURL(where)
	if err != nil {
		return nil, fmt.Errorf("cannot open the ledger: %w", err)
	}
	if databaseURL != "" {
		return openPostgres(ctx, databaseURL, create, postgresMigration, options...)
	}
	return openSQLiteFile(ctx, where, create, sqliteMigration, options...)
}

var (
	urlScheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://`)
	// keywords matches the beginning of a connection string in libpq's other form.
	keywords = regexp.MustCompile(`^\s*(host|hostaddr|port|dbname|user|password|passfile|service|sslmode|connect_timeout|application_name|options|target_session_attrs)\s*=`)
)

// PostgresURL returns the URL of the PostgreSQL database that [Open] would open,
// with its scheme in lower case; empty if where is the path of a file. If where is
// neither, it returns an error, which does not repeat where because that may
// contain a password.
func PostgresURL(where string) (string, error) {
	if where == "" {
		return "", errors.New("it is empty: name a SQLite file or a postgres:// URL")
	}
	if scheme := urlScheme.FindStringSubmatch(where); scheme != nil {
		switch name := strings.ToLower(scheme[1]); name {
		case "postgres", "postgresql":
			return name + where[len(name):], nil
		default:
			return "", fmt.Errorf("%s:// is not a kind of ledger: use the path of a SQLite file or a postgres:// URL", scheme[1])
		}
	}
	if keyword := keywords.FindStringSubmatch(where); keyword != nil {
		return "", fmt.Errorf("%s=... is not a kind of ledger: write a PostgreSQL database as postgres://USER@HOST/DATABASE", keyword[1])
	}
	return "", nil
}
