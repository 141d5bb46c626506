//go:build unix

package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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
	var kept chaosDir // the directory of the smallest run that failed
	small, err := chaos.Shrink(ctx, options, func(ctx context.Context, options chaos.Options) (bool, error) {
		size := plural(options.Orders, "order", "orders") + " and " + plural(len(options.Only), "fault", "faults")
		for range shrinkTries {
			dir, failure, err := tryChaos(ctx, options)
			if err != nil {
				return false, errors.Join(err, dir.remove())
			}
			if failure != "" {
				a.out.notef("%s: it fails: %s", size, failure)
				err := kept.remove()
				kept = dir
				return true, err
			}
			if err := dir.remove(); err != nil {
				return false, err
			}
		}
		a.out.notef("%s: it does not fail", size)
		return false, nil
	})
	if err != nil {
		return errors.Join(err, kept.remove())
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
	if err := errors.Join(err, kept.keep()); err != nil {
		return err
	}
	return &exitError{code: exitBreach, message: fmt.Sprintf("logs and databases of the smallest run are in %s", kept.path), hint: "the same again: " + plan.command(small)}
}

// tryChaos makes a run in a directory of its own, and returns how it failed; empty if it
// did not. A run that cannot come to its end has failed, too.
func tryChaos(ctx context.Context, options chaos.Options) (dir chaosDir, failure string, err error) {
	if dir, err = makeChaosDir(""); err != nil {
		return dir, "", err
	}
	options.Dir = dir.path
	report, err := chaos.Run(ctx, options)
	switch {
	case ctx.Err() != nil:
		return dir, "", ctx.Err()
	case err != nil:
		return dir, err.Error(), nil
	case report.Breaches() > 0:
		return dir, plural(report.Breaches(), "breach", "breaches"), nil
	}
	return dir, "", nil
}

// command returns the command that injects the faults of a run again.
func (plan chaosPlan) command(options chaos.Options) string {
	if options.Only != nil && len(options.Only) == 0 {
		options.Kills, options.Only = 0, nil // and so no other faults, but upgrades
		options.Faults = slices.DeleteFunc(slices.Clone(options.Faults), func(name string) bool { return name == "upgrade" })
	}
	command := fmt.Sprintf("coffee chaos --orders %d --kills %d --seed %d --faults %s", options.Orders, options.Kills, options.Seed, cmp.Or(strings.Join(options.Faults, ","), "none"))
	if options.Only != nil {
		command += " --only " + strings.Trim(strings.ReplaceAll(fmt.Sprint(options.Only), " ", ","), "[]")
	}
	if plan.keyset != nil {
		command += " --encryption-keyset …"
	}
	switch {
	case plan.server != nil:
		command += " --address …, with another namespace"
	case plan.ledger.where != "":
		command += " --ledger …, with another ledger"
	}
	return command
}
