// Package child runs this program again, as processes of a command's own.
package child

import (
	"os"
	"path/filepath"
	"strings"
)

// Environment returns an environment in which the program keeps its data in dir, and
// ignores the user's own data and configuration.
func Environment(dir string) ([]string, error) {
	config := filepath.Join(dir, "temporal.toml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		return nil, err
	}
	var env []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "TEMPORAL_") && !strings.HasPrefix(pair, "COFFEE_LEDGER=") && !strings.HasPrefix(pair, "COFFEE_ENCRYPTION_KEYSET=") {
			env = append(env, pair)
		}
	}
	return append(env, "XDG_DATA_HOME="+dir, "TEMPORAL_CONFIG_FILE="+config), nil
}
