package connect

import (
	"slices"

	"github.com/urfave/cli/v2"
	"google.golang.org/grpc"

	"example.com/coffee/devserver"
)

// SkipTimeFlag is the flag --skip-time of the commands that place orders.
func SkipTimeFlag() cli.Flag {
	return &cli.BoolFlag{Name: "skip-time", Usage: "let backoffs pass at once, on a server that allows it (coffee server --time-skipping)"}
}

// WithSkipTime returns the options of a client that skips the time of the orders that
// it places, if skip is true.
func WithSkipTime(options Options, skip bool) Options {
	if skip {
		options.ConnectionOptions.DialOptions = slices.Concat([]grpc.DialOption{devserver.SkipTime()}, options.ConnectionOptions.DialOptions)
	}
	return options
}
