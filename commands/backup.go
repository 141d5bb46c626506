package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee/encryption"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/backupfiles"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/ledgers"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/sleep"
	"example.com/coffee/internal/text"
)

func backupCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:      "backup",
		Usage:     "copy a server's database and its ledgers while they are in use",
		ArgsUsage: "FILE|DIR",
		Description: "Copies the database to FILE, and each ledger to a file beside it. The copies are taken together. " +
			"To go back to them, start a server and a worker on the copies. " +
			"With --every it makes a backup in DIR at once and then again and again, until it is interrupted. " +
			"With --verify it checks backups, and changes nothing: it reads each FILE whole, and audits it with the ledgers beside it (exit code 6 after a breach, 1 if a ledger is missing).",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "db-filename", Aliases: []string{"f"}, Usage: "SQLite `FILE` of the server", DefaultText: "coffee.db in the data directory"},
			&cli.StringFlag{Name: "ledger", Usage: "SQLite `FILE` of the ledger, or a postgres:// URL, which is not copied", DefaultText: "$" + commandline.LedgerVariable + ", or those of the server in the data directory"},
			&cli.DurationFlag{Name: "every", Usage: "make a backup in DIR every `DURATION`", DefaultText: "one backup"},
			&cli.IntFlag{Name: "keep", Usage: "with --every, keep the newest `N` backups of this server", DefaultText: "24"},
			&cli.BoolFlag{Name: "verify", Usage: "check backups"},
			connect.KeysetFlag(""),
			commandline.OutputFlag(),
		},
		Action: run(a, parseBackup, runBackup),
	}
}

type backupPlan struct {
	database string // empty means the one in the data directory
	ledger   ledgers.Choice
	to       string // a directory if every is set
	asJSON   bool
	every    time.Duration // 0 means once
	keep     int           // how many backups, if every is set
	verify   []string      // files to check; empty means to make a backup
	keyset   *encryption.Keyset
}

func parseBackup(c *cli.Context) (plan backupPlan, err error) {
	plan = backupPlan{database: c.String("db-filename"), to: c.Args().First(), asJSON: commandline.WantsJSON(c)}
	for _, name := range append(c.Args().Slice(), plan.database) {
		if err := ledgers.CheckDatabaseName(c, name); err != nil {
			return plan, err
		}
	}
	if c.Bool("verify") {
		for _, flag := range []string{"every", "keep", "db-filename"} {
			if c.IsSet(flag) {
				return plan, commandline.Errorf(c, "--verify checks the files that are named: --%s makes no sense with it", flag)
			}
		}
		if plan.ledger, err = ledgers.Parse(c); err != nil {
			return plan, err
		}
		if plan.ledger.Named && !ledgers.IsPostgres(plan.ledger.Where) {
			return plan, commandline.Errorf(c, "--verify checks the ledgers beside the files that are named: --ledger is only for one in PostgreSQL, which is not checked")
		}
		if plan.verify = c.Args().Slice(); len(plan.verify) == 0 {
			return plan, commandline.Errorf(c, "backup --verify takes the files to check")
		}
		plan.keyset, err = connect.ParseKeyset(c)
		return plan, err
	}
	if c.IsSet("encryption-keyset") {
		return plan, commandline.Errorf(c, "a backup copies what is encrypted as it is: --encryption-keyset is for --verify")
	}
	if c.IsSet("every") {
		if plan.every = c.Duration("every"); plan.every < time.Second {
			return plan, commandline.Errorf(c, "--every is %v: use 1s or more", plan.every)
		}
		plan.keep = 24
	}
	if c.IsSet("keep") {
		if plan.keep = c.Int("keep"); plan.keep < 1 || plan.every == 0 {
			return plan, commandline.Errorf(c, "--keep is %d: use 1 or more, with --every", plan.keep)
		}
	}
	if c.Args().Len() != 1 || plan.to == "" {
		return plan, commandline.Errorf(c, "backup takes one file name")
	}
	plan.ledger, err = ledgers.Parse(c)
	return plan, err
}

// backedUp is the output of coffee backup.
type backedUp struct {
	Database string   `json:"database"`
	Ledgers  []string `json:"ledgers"`
}

func runBackup(ctx context.Context, a *app.App, plan backupPlan) error {
	switch {
	case len(plan.verify) > 0:
		return runVerify(ctx, a, plan)
	case plan.every > 0:
		return runBackups(ctx, a, plan)
	}
	return backUp(ctx, a, plan, plan.to)
}

// backUp makes a backup, with its database in the file to.
func backUp(ctx context.Context, a *app.App, plan backupPlan, to string) error {
	database := plan.database
	if database == "" {
		var err error
		if database, err = defaultDatabase(a); err != nil {
			return err
		}
	}
	stamp, err := devserver.ReadStamp(ctx, database)
	if err != nil {
		return exit.Hinted(err, "name the server's database with --db-filename")
	}
	ledgers, err := ledgersToCopy(a, plan.ledger, to, stamp.ClusterID)
	if err != nil {
		return err
	}
	// The ledgers come last. If one has a charge that the server does not know of
	// yet, the order asks for it again and learns that it has been made.
	copies := append([]devserver.Copy{{From: database, To: to}}, ledgers...)
	if err := devserver.Backup(ctx, copies...); err != nil {
		return err
	}
	done := backedUp{Database: to, Ledgers: []string{}}
	for _, ledger := range ledgers {
		done.Ledgers = append(done.Ledgers, ledger.To)
	}
	if len(ledgers) == 0 {
		a.Out.Notef("no ledger was copied; if it is in PostgreSQL, copy it now, with pg_dump")
	}
	if plan.asJSON {
		return a.Out.Json(done)
	}
	a.Out.Printf("Database  %s\n", text.Printable(done.Database))
	for _, ledger := range done.Ledgers {
		a.Out.Printf("Ledger    %s\n", text.Printable(ledger))
	}
	return nil
}

// ledgersToCopy returns the ledgers of a server, or the one that the user names, or
// none if that is in PostgreSQL.
func ledgersToCopy(a *app.App, choice ledgers.Choice, to, clusterID string) ([]devserver.Copy, error) {
	// The ledger of monday.db is monday-ledger.db, or one for each namespace.
	name := func(namespace string) string {
		extension := filepath.Ext(to)
		return strings.TrimSuffix(to, extension) + "-ledger" + namespace + cmp.Or(extension, ".db")
	}
	if where := choice.Where; where != "" {
		if err := choice.Check(); err != nil {
			return nil, err
		}
		if ledgers.IsPostgres(where) {
			return nil, nil
		}
		return []devserver.Copy{{From: where, To: name("")}}, nil
	}
	dir, err := ledgers.Dir(a)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
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

// clusterOf returns the id of the server that made a database.
func clusterOf(ctx context.Context, database string) (string, error) {
	stamp, err := devserver.ReadStamp(ctx, database)
	return stamp.ClusterID, err
}

// runBackups makes a backup in a directory every plan.every, and keeps the newest ones, until
// the context ends. A failed one is reported, and the next is made on schedule, unless it is
// the first.
func runBackups(ctx context.Context, a *app.App, plan backupPlan) error {
	a.Out.OutliveReaders()
	if info, err := os.Stat(plan.to); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is not a directory", text.Printable(plan.to))
	}
	told := map[string]bool{}
	for first := true; ; first = false {
		made, err := backUpInto(ctx, a, plan)
		switch {
		case ctx.Err() != nil: // interrupted, perhaps in a backup: that is how it ends
			return nil
		case err != nil && first:
			return err
		case err != nil:
			a.Out.Notef("no backup was made: %v; the next one is due in %v", err, plan.every)
		default:
			ignored, err := backupfiles.RemoveOld(ctx, made, plan.keep, clusterOf)
			if err != nil {
				a.Out.Notef("old backups stay: %v", err)
			}
			for _, line := range ignored {
				if !told[line] {
					a.Out.Notef("%s", line)
				}
				told[line] = true
			}
		}
		if !sleep.For(ctx, plan.every) {
			return nil
		}
	}
}

// backUpInto makes a backup in the plan's directory, and returns its database. Where another server
// has made one in the same second, it takes the next.
func backUpInto(ctx context.Context, a *app.App, plan backupPlan) (string, error) {
	for {
		to := filepath.Join(plan.to, "coffee-"+time.Now().UTC().Format(backupfiles.BackupTime)+".db")
		if err := backUp(ctx, a, plan, to); !errors.Is(err, fs.ErrExist) || !sleep.For(ctx, time.Second) {
			return to, err
		}
	}
}
