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

// ledgerTables are the tables of a ledger.
var ledgerTables = []string{"ledger_deliveries", "ledger_entries", "ledger_owner", "ledger_schema"}

// version returns the version of a database's schema, which the table ledger_schema has and
// which moves forward only; 0 if there is no ledger. It returns an error if part of the
// ledger is missing, and [ErrNewerLedger] if the schema is newer than this program.
func (e engine) version(ctx context.Context, db querier) (version int, err error) {
	missing, err := e.missing(ctx, db)
	if err != nil || len(missing) == len(ledgerTables) {
		return 0, err
	}
	if !slices.Contains(missing, "ledger_schema") {
		err = db.QueryRowContext(ctx, `SELECT version FROM `+e.in+`ledger_schema`).Scan(&version)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, errors.New("part of it is missing: ledger_schema is empty; restore it whole")
		}
		if err == nil {
			err = e.checkVersion(version) // a newer one may have other tables
		}
	}
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("part of it is missing: there is no %s; restore it whole", strings.Join(missing, ", "))
	}
	return version, err
}

// missing returns the tables of a ledger that a database lacks.
func (e engine) missing(ctx context.Context, db querier) ([]string, error) {
	rows, err := db.QueryContext(ctx, e.tables, e.args...)
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
func (e engine) check(ctx context.Context, db querier) error {
	version, err := e.version(ctx, db)
	if err == nil && version == 0 {
		err = ErrNoLedger
	}
	return err
}

// checkVersion returns [ErrNewerLedger] if the schema is newer than this program.
func (e engine) checkVersion(version int) error {
	if version > len(e.steps) {
		return fmt.Errorf("%w: its schema has version %d, and this program knows version %d", ErrNewerLedger, version, len(e.steps))
	}
	return nil
}

// migrate brings the schema to the version that this program knows. If there is no ledger,
// it creates one if create is true, and returns [ErrNoLedger] otherwise. It returns
// [ErrNewerLedger] if the schema is newer, and changes nothing then.
func (e engine) migrate(ctx context.Context, db *sql.DB, create bool) error {
	version, err := e.version(ctx, db)
	if err != nil || version == len(e.steps) {
		return err
	}
	if version == 0 && !create {
		return ErrNoLedger
	}
	tx, err := db.BeginTx(ctx, isolation)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if e.lock != "" {
		if _, err := tx.ExecContext(ctx, e.lock, e.args...); err != nil {
			return err
		}
	}
	version, err = e.version(ctx, tx)
	if err != nil || version == len(e.steps) { // another program was first
		return err
	}
	record, args := `UPDATE `+e.in+`ledger_schema SET version = $1`, []any{len(e.steps)}
	if version == 0 {
		record, args = `INSERT INTO `+e.in+`ledger_schema (version, ledger_id) VALUES ($1, $2)`, append(args, rand.Text())
	}
	for ; version < len(e.steps); version++ {
		if _, err := tx.ExecContext(ctx, e.steps[version]); err != nil {
			return fmt.Errorf("its schema cannot be brought from version %d to %d: %w", version, version+1, err)
		}
	}
	if _, err := tx.ExecContext(ctx, record, args...); err != nil {
		return err
	}
	return tx.Commit()
}
