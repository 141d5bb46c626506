package commands

import (
	"os"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
	"example.com/coffee/commands/internal/release"
)

// releaseFlag lets the tour, chaos runs and tests use a release of the workflow that
// does not exist yet, in place of this program's.
func releaseFlag() cli.Flag {
	return &cli.StringFlag{Name: "release", Usage: "`NAME` of the release to use: " + release.Broken + " or " + release.Patched, Hidden: true}
}

// parseRelease returns the release that the flag names; nil if it names none.
func parseRelease(c *cli.Context) (release.Release, error) {
	if !c.IsSet("release") {
		return nil, nil
	}
	if os.Getenv(release.Variable) == "" {
		return nil, usageErrorf(c, "--release is for coffee tour and coffee chaos, on servers of their own: it would stop the orders of yours")
	}
	named := release.Named(c.String("release"))
	if named == nil {
		return nil, usageErrorf(c, "there is no release %q", c.String("release"))
	}
	return named, nil
}

// parseReplayer returns what replays a history on the workflow that is to take over:
// this program's, or that of the release that the flag names.
func parseReplayer(c *cli.Context) (func(coffee.History) error, error) {
	named, err := parseRelease(c)
	if named != nil {
		return named.Replay, err
	}
	return (&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).Replay, err
}
