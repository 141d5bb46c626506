package commands

import (
	"slices"

	"github.com/urfave/cli/v2"
	"google.golang.org/grpc"

	"example.com/coffee/devserver"
)

// skipTimeFlag is the flag --skip-time of the commands that place orders.
func skipTimeFlag() cli.Flag {
	return &cli.BoolFlag{Name: "skip-time", Usage: "let backoffs pass at once, on a server that allows it (coffee server --time-skipping)"}
}

// withSkipTime returns the options of a client that skips the time of the orders that
// it places, if skip is true.
func withSkipTime(options connectOptions, skip bool) connectOptions {
	if skip {
		options.ConnectionOptions.DialOptions = slices.Concat([]grpc.DialOption{devserver.SkipTime()}, options.ConnectionOptions.DialOptions)
	}
	return options
}
