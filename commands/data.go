package commands

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// dataDir returns the directory of the user's data: coffee in $XDG_DATA_HOME, or
// in ~/.local/share. If it does not exist, dataDir creates it, readable by the
// user alone. If others can write to it, dataDir logs a warning.
func (a *app) dataDir() (string, error) {
	base := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(base) { // the XDG specification says to ignore relative paths
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("where to keep data? %w: set XDG_DATA_HOME", err)
		}
		base = filepath.Join(home, ".local", "share")
	}
	dir := filepath.Join(base, "coffee")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot create the data directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", fmt.Errorf("cannot use the data directory: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 && runtime.GOOS != "windows" {
		a.log.Warn().Str("directory", dir).Stringer("mode", mode).
			Msg("other users can write to the data directory and replace its files: run chmod 700 on it")
	}
	return dir, nil
}
