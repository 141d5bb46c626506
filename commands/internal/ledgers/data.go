package ledgers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/internal/private"
	"example.com/coffee/internal/sqlitefile"
	"example.com/coffee/internal/text"
)

// dataDir returns the directory of the user's data, which need not exist: coffee in
// $XDG_DATA_HOME, or in ~/.local/share. If others could replace its files, dataDir logs a
// warning.
func Dir(a *app.App) (string, error) {
	base := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(base) { // the XDG specification says to ignore relative paths
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("where to keep data? %w: set XDG_DATA_HOME", err)
		}
		base = filepath.Join(home, ".local", "share")
	}
	dir := filepath.Join(base, "coffee")
	if err := private.CheckDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.Log.Warn().Msg("the data directory is not private: " + err.Error())
	}
	return dir, nil
}

// makeDataDir creates the directory of the user's data if it does not exist, readable by
// the user alone. Commands that only read do without it.
func MakeDir(a *app.App) error {
	dir, err := Dir(a)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot create the data directory: %w", err)
	}
	return nil
}

// CheckDatabaseName returns a usage error for a name that is hardly meant as that of a
// database file.
func CheckDatabaseName(c *cli.Context, name string) error {
	err := sqlitefile.CheckName(name)
	switch {
	case err == nil:
		return nil
	case name == ":memory:" && c.Command.Name == "server":
		return commandline.Errorf(c, "--db-filename is SQLite's name for a database in memory: use --in-memory")
	}
	return commandline.Errorf(c, "the database %s %v", text.Printable(name), err)
}
