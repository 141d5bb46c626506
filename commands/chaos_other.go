//go:build !unix

package commands

import (
	"errors"

	"github.com/urfave/cli/v2"
)

// chaosCommand returns a command that says that chaos does not run here.
func chaosCommand(*app) *cli.Command {
	return &cli.Command{
		Name:   "chaos",
		Usage:  "prove it under kill -9 (Unix only)",
		Action: func(*cli.Context) error { return errors.New("chaos needs SIGKILL and SIGSTOP") },
	}
}
