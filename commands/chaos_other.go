//go:build !unix

package commands

import (
	"context"
	"errors"

	"github.com/urfave/cli/v3"
)

// chaosCommand says that there is no chaos here.
func chaosCommand(*output) *cli.Command {
	return &cli.Command{
		Name:   "chaos",
		Usage:  "prove it under kill -9 (Unix only)",
		Action: func(context.Context, *cli.Command) error { return errors.New("chaos needs SIGKILL and SIGSTOP") },
	}
}
