package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// SchemaVersion is the version of the schema that this program makes, and the newest
// that it reads or writes. The version is in the database itself, in the table
// ledger_schema. It moves forward only.
const SchemaVersion = 1

// ledgerTables are the tables of a ledger.
var ledgerTables = []string{"ledger_deliveries", "ledger_entries", "ledger_owner", "ledger_schema"}

// migration says how to bring the schema of a database to a version.
type migration struct {
	// steps[i] makes version i+1 of version i. What a released step does never
	// changes.
	steps []string
	// in, unless empty, is the schema that has the tables, quoted and with a dot.
	in string
	// tables is a query for the names of the tables that exist, among others.
	tables string
	// isolation and lock begin the transaction that migrates. Together they let only
	// one at a time do so; the others wait.
	isolation sql.IsolationLevel
	lock      string // empty for none
	// args are the parameters of tables and lock.
	args []any
}

// version returns the version of a database's schema, 0 if there is no ledger. It
// returns an error if part of the ledger is missing.
func (m migration) version(ctx context.Context, db querier) (version int, err error) {
	missing, err := m.missing(ctx, db)
	switch {
	case err != nil || len(missing) == len(ledgerTables):
		return 0, err
	case !slices.Contains(missing, "ledger_schema"):
		err = db.QueryRowContext(ctx, `SELECT version FROM `+m.in+`ledger_schema`).Scan(&version)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, errors.New("part of it is missing: ledger_schema is empty; restore it whole")
		}
		if err == nil {
			err = checkVersion(version, len(m.steps)) // a newer one may have other tables
		}
		if err != nil {
			return 0, err
		}
	}
	if len(missing) > 0 {
		return 0, fmt.Errorf("part of it is missing: there is no %s; restore it whole", strings.Join(missing, ", "))
	}
	return version, nil
}

// missing returns the tables of a ledger that a database lacks.
func (m migration) missing(ctx context.Context, db querier) ([]string, error) {
	rows, err := db.QueryContext(ctx, m.tables, m.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	missing := slices.Clone(ledgerTables)
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		missing = slices.DeleteFunc(missing, func(table string) bool { return table == name })
	}
	return missing, rows.Err()
}

// check returns nil if the database has a ledger, of whatever version up to the one that
// this program knows.
func (m migration) check(ctx context.Context, db querier) error {
	version, err := m.version(ctx, db)
	if err == nil && version == 0 {
		err = ErrNoLedger
	}
	return err
}

// checkVersion returns [coffee.ErrNewerLedger] if the schema is newer than the version
// that a program knows.
func checkVersion(version, known int) error {
	if version > known {
		return fmt.Errorf("%w: its schema has version %d, and this program knows version %d", ErrNewerLedger, version, known)
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
		return ErrNoLedger
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: m.isolation})
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if m.lock != "" {
		if _, err := tx.ExecContext(ctx, m.lock, m.args...); err != nil {
			return err
		}
	}
	if version, err = m.version(ctx, tx); err != nil || version == len(m.steps) { // another program was first
		return err
	}
	created := version == 0
	for ; version < len(m.steps); version++ {
		if _, err := tx.ExecContext(ctx, m.steps[version]); err != nil {
			return fmt.Errorf("its schema cannot be brought from version %d to %d: %w", version, version+1, err)
		}
	}
	if created {
		_, err = tx.ExecContext(ctx, `INSERT INTO `+m.in+`ledger_schema (version, ledger_id) VALUES ($1, $2)`, version, rand.Text())
	} else {
		_, err = tx.ExecContext(ctx, `UPDATE `+m.in+`ledger_schema SET version = $1`, version)
	}
	if err != nil {
		return err
	}
	return tx.Commit()
}

// newLedger returns the ledger in a database whose schema is current. placeOf is an
// expression over ledger_schema; see [sqlLedger].
func (m migration) newLedger(ctx context.Context, db *sql.DB, placeOf string, s settings) (*sqlLedger, error) {
	l := &sqlLedger{db: db, in: m.in, version: len(m.steps), placeOf: placeOf, isolation: m.isolation, now: s.now}
	err := db.QueryRowContext(ctx, `SELECT ledger_id, `+placeOf+` FROM `+m.in+`ledger_schema`).Scan(&l.id, &l.place)
	return l, err
}
