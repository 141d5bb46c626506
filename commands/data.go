package commands

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// dataDir is the directory of the user's data, readable by the user alone:
// coffee in $XDG_DATA_HOME, or in ~/.local/share. It is created if it does not
// exist; if others can write to it, the log says so.
func (a *app) dataDir() (string, error) {
	base := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(base) { // the XDG specification says to ignore a relative one
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
			Msg("others can write to the data directory, and so replace what is in it; chmod 700 keeps them out")
	}
	return dir, nil
}
