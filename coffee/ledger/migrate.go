package ledger

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"

	"example.com/coffee/coffee"
)

// SchemaVersion is the version of the schema that this program makes, and the newest
// that it reads or writes. The version is in the database itself, in the table
// ledger_schema. It moves forward only.
const SchemaVersion = 3

//go:embed number.sql
var numberSchema string

// migration says how to bring the schema of a database to a version.
type migration struct {
	// steps[i] makes version i+1 of version i. What a released step does never
	// changes. Each step after the third only changes tables: the number follows.
	steps []string
	// tables is a query for whether the tables ledger_entries, ledger_deliveries and
	// ledger_schema exist.
	tables string
	// isolation and lock begin the transaction that migrates. Together they let only
	// one at a time do so; the others wait.
	isolation sql.IsolationLevel
	lock      string // empty for none
}

// version returns the version of a database's schema, 0 if there is no ledger. Before
// the third, the version is not recorded, but follows from the tables.
func (m migration) version(ctx context.Context, db querier) (version int, err error) {
	var entries, deliveries, numbered bool
	if err := db.QueryRowContext(ctx, m.tables).Scan(&entries, &deliveries, &numbered); err != nil {
		return 0, err
	}
	switch {
	case numbered:
		err = db.QueryRowContext(ctx, `SELECT version FROM ledger_schema`).Scan(&version)
	case deliveries:
		version = 2
	case entries:
		version = 1
	}
	if err == nil {
		err = CheckVersion(version, len(m.steps))
	}
	return version, err
}

// CheckVersion returns [coffee.ErrNewerLedger] if the schema is newer than the version
// that a program knows.
func CheckVersion(version, known int) error {
	if version > known {
		return fmt.Errorf("%w: its schema has version %d, and this program knows version %d", coffee.ErrNewerLedger, version, known)
	}
	return nil
}

// run brings the schema to the version that this program knows. If there is no ledger,
// it creates one if create is true, and returns [coffee.ErrNoLedger] otherwise. It
// returns [coffee.ErrNewerLedger] if the schema is newer, and changes nothing then.
func (m migration) run(ctx context.Context, db *sql.DB, create bool) error {
	version, err := m.version(ctx, db)
	if err != nil || version == len(m.steps) {
		return err
	}
	if version == 0 && !create {
		return coffee.ErrNoLedger
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: m.isolation})
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if m.lock != "" {
		if _, err := tx.ExecContext(ctx, m.lock); err != nil {
			return err
		}
	}
	if version, err = m.version(ctx, tx); err != nil { // another program may have been first
		return err
	}
	for ; version < len(m.steps); version++ {
		if _, err := tx.ExecContext(ctx, m.steps[version]); err != nil {
			return fmt.Errorf("its schema cannot be brought from version %d to %d: %w", version, version+1, err)
		}
	}
	if _, err := tx.ExecContext(ctx, `UPDATE ledger_schema SET version = $1`, version); err != nil {
		return err
	}
	return tx.Commit()
}
