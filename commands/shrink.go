//go:build unix

package commands

import (
	"context"
	"fmt"
	"os"

	"example.com/coffee/commands/internal/chaos"
)

// shrinkTries is how often a smaller run is made before it counts as one that does not
// fail: what a fault hits depends on the moment.
const shrinkTries = 2

// shrunk is the output of coffee chaos --shrink.
type shrunk struct {
	Seed   uint64        `json:"seed"`
	Orders int           `json:"orders"`
	Faults []chaos.Fault `json:"faults"`
}

// runShrink finds the smallest run that still fails.
func runShrink(ctx context.Context, a *app, plan chaosPlan) error {
	options := chaosOptions(a, plan)
	options.Say = func(string) {}
	kept := "" // the directory of the smallest run that failed
	small, err := chaos.Shrink(ctx, options, func(ctx context.Context, options chaos.Options) (bool, error) {
		for range shrinkTries {
			dir, failed, err := tryChaos(ctx, options)
			if err != nil {
				return false, err
			}
			if failed {
				a.out.notef("%s and %s: it fails", plural(options.Orders, "order", "orders"), plural(len(options.Only), "fault", "faults"))
				err := os.RemoveAll(kept)
				kept = dir
				return true, err
			}
			if err := os.RemoveAll(dir); err != nil {
				return false, err
			}
		}
		a.out.notef("%s and %s: it does not fail", plural(options.Orders, "order", "orders"), plural(len(options.Only), "fault", "faults"))
		return false, nil
	})
	if err != nil {
		return err
	}
	result := shrunk{small.Seed, small.Orders, chaos.Schedule(small)}
	if plan.asJSON {
		err = a.out.json(result)
	} else {
		a.out.line("Seed", "%d", result.Seed)
		a.out.line("Orders", "%d", result.Orders)
		a.out.line("Faults", "%d", len(result.Faults))
		for _, fault := range result.Faults {
			a.out.printf("  %3d  after %s: %s\n", fault.Number, plural(fault.After, "order", "orders"), fault.What)
		}
	}
	if err != nil {
		return err
	}
	return &exitError{code: exitBreach, message: fmt.Sprintf("logs and databases of the smallest run are in %s", kept), hint: "the same again: " + plan.command(small)}
}

// tryChaos makes a run in a directory of its own, and reports whether it failed. A run that
// cannot come to its end has failed, too.
func tryChaos(ctx context.Context, options chaos.Options) (dir string, failed bool, err error) {
	if options.Dir, err = makeChaosDir(""); err != nil {
		return "", false, err
	}
	report, err := chaos.Run(ctx, options)
	if ctx.Err() != nil {
		return options.Dir, false, ctx.Err()
	}
	return options.Dir, err != nil || report.Breaches() > 0, nil
}
