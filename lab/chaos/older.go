//go:build unix

package chaos

import (
	"context"
	"database/sql"
	"errors"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"example.com/coffee/internal/sqlitefile"
)

// newerThings are what Temporal has added to the schema of the server's database since its
// version 1.30.9, each with the statement that takes it away, and the stamp of the version.
var newerThings = []string{
	`DROP TABLE current_chasm_executions`,
	`ALTER TABLE executions_visibility DROP COLUMN TemporalExternalPayloadSizeBytes`,
	`ALTER TABLE executions_visibility DROP COLUMN TemporalExternalPayloadCount`,
	`UPDATE devserver_stamp SET server_version = '1.30.9'`,
}

// makeOlder makes a database that no server has open one that Temporal server 1.30.9
// could have made, so that the next start has to carry it over. What is in the database
// stays.
func makeOlder(ctx context.Context, file string) (err error) {
	hold, err := sqlitefile.Take(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hold.Release()) }()
	db, err := sql.Open("sqlite", sqlitefile.DSN(file, "rw", map[string]string{"synchronous": "full", "busy_timeout": "5000"})+sqlitefile.Immediate)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	for _, statement := range newerThings {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return tx.Commit()
}
