//go:build !noserver

package devserver

import (
	"context"
	"errors"
	"fmt"
)

// olderVersion is the version of the server whose schema [MakeOlder] makes.
const olderVersion = "1.30.9"

// newerThings are what Temporal has added to the schema since then, each with the
// statement that takes it away.
var newerThings = []string{
	`DROP TABLE current_chasm_executions`,
	`ALTER TABLE executions_visibility DROP COLUMN TemporalExternalPayloadSizeBytes`,
	`ALTER TABLE executions_visibility DROP COLUMN TemporalExternalPayloadCount`,
}

// MakeOlder makes a database that no server has open one that Temporal server 1.30.9
// could have made, so that the next start has to carry it over. It is for tests of
// upgrades; what is in the database stays. It returns a [*LockedError] or a
// [*DatabaseError].
func MakeOlder(ctx context.Context, file string) (err error) {
	lock, err := lockFile(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	db, err := openSQLite(file)
	if err != nil {
		return unusable(file, "opened", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return unusable(file, "opened", err)
	}
	defer tx.Rollback() // does nothing after Commit
	for _, statement := range append(newerThings, fmt.Sprintf(`UPDATE %s SET server_version = '%s'`, stampTable, olderVersion)) {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return unusable(file, "changed", err)
		}
	}
	return tx.Commit()
}
