package commands

import (
	"cmp"
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v3"

	"example.com/coffee/coffee"
	"example.com/coffee/devserver"
)

func backupCommand(out *output) *cli.Command {
	return &cli.Command{
		Name:      "backup",
		Usage:     "copy a server's database and its ledgers while they are in use",
		ArgsUsage: "FILE",
		Description: "FILE becomes a copy of the database; a copy of each ledger is put beside it. They are of the same moment. " +
			"To go back to it, start a server and a worker on the copies.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "db-filename", Aliases: []string{"f"}, Usage: "SQLite `FILE` of the server (default: coffee.db in the data directory)"},
			&cli.StringFlag{Name: "ledger", Usage: "SQLite `FILE` of the ledger (default: $" + ledgerVariable + ", or those of the server in the data directory)"},
			outputFlag(),
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			asJSON, err := wantsJSON(cmd)
			if err != nil {
				return err
			}
			if cmd.Args().Len() != 1 || cmd.Args().First() == "" {
				return usageErrorf(cmd, "backup takes the name of one file")
			}
			return backup(ctx, cmd, out, cmd.Args().First(), asJSON)
		},
	}
}

// backedUp is what coffee backup says.
type backedUp struct {
	Database string   `json:"database"`
	Ledgers  []string `json:"ledgers"`
}

func backup(ctx context.Context, cmd *cli.Command, out *output, to string, asJSON bool) error {
	database := cmd.String("db-filename")
	if database == "" {
		dir, err := dataDir(out.log)
		if err != nil {
			return err
		}
		database = filepath.Join(dir, "coffee.db")
	}
	stamp, err := devserver.ReadStamp(ctx, database)
	if err != nil {
		return &hintedError{err, "name the file of the server with --db-filename"}
	}
	ledgers, err := ledgersToCopy(cmd, out, stamp.ClusterID, to)
	if err != nil {
		return err
	}
	// The ledgers come last. If one has a charge that the server does not know of
	// yet, its order will ask for it once more, and be told that it is done.
	copies := append([]devserver.Copy{{From: database, To: to}}, ledgers...)
	if err := devserver.Backup(ctx, copies...); err != nil {
		return err
	}
	done := backedUp{Database: to, Ledgers: []string{}}
	for _, ledger := range ledgers {
		done.Ledgers = append(done.Ledgers, ledger.To)
	}
	if len(ledgers) == 0 {
		out.notef("no ledger was copied; if it is in PostgreSQL, copy it now, with pg_dump")
	}
	if asJSON {
		return out.json(done)
	}
	out.printf("Database  %s\n", coffee.Printable(done.Database))
	for _, ledger := range done.Ledgers {
		out.printf("Ledger    %s\n", coffee.Printable(ledger))
	}
	return nil
}

// ledgersToCopy are the ledgers of a server, or the one that the user names; none
// if it is in PostgreSQL.
func ledgersToCopy(cmd *cli.Command, out *output, clusterID, to string) ([]devserver.Copy, error) {
	// monday.db has the ledger monday-ledger.db, or one for each namespace.
	name := func(namespace string) string {
		extension := filepath.Ext(to)
		return strings.TrimSuffix(to, extension) + "-ledger" + namespace + cmp.Or(extension, ".db")
	}
	if where := cmp.Or(cmd.String("ledger"), os.Getenv(ledgerVariable)); where != "" {
		if err := checkLedgerName(where); err != nil {
			return nil, err
		}
		if isPostgres(where) {
			return nil, nil
		}
		return []devserver.Copy{{From: where, To: name("")}}, nil
	}
	dir, err := dataDir(out.log)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var copies []devserver.Copy
	for _, entry := range entries {
		namespace, ok := strings.CutPrefix(entry.Name(), "ledger-"+url.PathEscape(clusterID))
		if namespace, isDB := strings.CutSuffix(namespace, ".db"); ok && isDB {
			copies = append(copies, devserver.Copy{From: filepath.Join(dir, entry.Name()), To: name(namespace)})
		}
	}
	return copies, nil
}
