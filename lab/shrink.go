//go:build unix && !noserver

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"example.com/coffee/commands"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/text"
	"example.com/coffee/lab/chaos"
)

func (l *lab) shrinkCommand() *cli.Command {
	var keyset []cli.Flag
	for _, flag := range commands.ConnectFlags() {
		if flag.Names()[0] == "encryption-keyset" {
			keyset = append(keyset, flag)
		}
	}
	return &cli.Command{
		Name:  "shrink",
		Usage: "find the fewest orders and faults with which the run of a seed still fails",
		Description: "Makes the run of --seed again and again, on servers and ledgers of its own, with fewer faults and fewer orders while it still fails, and prints what is left. " +
			"Give it the other flags of the run that failed.",
		Flags: slices.Concat(runFlags(), keyset),
		Action: func(c *cli.Context) error {
			if !c.IsSet("seed") {
				return exit.Usagef(c.Command.HelpName, "which run? give its --seed")
			}
			plan, err := parseRun(c)
			if err != nil {
				return err
			}
			return l.shrink(c.Context, plan)
		},
	}
}

// shrinkTries is how often a smaller run is made before it counts as one that does not
// fail: what a fault hits depends on the moment.
const shrinkTries = 2

// shrunk is the output of lab shrink.
type shrunk struct {
	Seed   uint64        `json:"seed"`
	Orders int           `json:"orders"`
	Faults []chaos.Fault `json:"faults"`
}

// shrink finds the smallest run that still fails.
func (l *lab) shrink(ctx context.Context, p plan) error {
	p.Say = func(string) {}
	var kept runDir // the directory of the smallest run that failed
	small, err := chaos.Shrink(ctx, p.Options, func(ctx context.Context, options chaos.Options) (bool, error) {
		size := text.Plural(options.Orders, "order", "orders") + " and " + text.Plural(len(options.Only), "fault", "faults")
		for range shrinkTries {
			dir, failure, err := try(ctx, options)
			if err != nil {
				return false, errors.Join(err, dir.remove())
			}
			if failure != "" {
				l.notef("%s: it fails: %s", size, failure)
				err := kept.remove()
				kept = dir
				return true, err
			}
			if err := dir.remove(); err != nil {
				return false, err
			}
		}
		l.notef("%s: it does not fail", size)
		return false, nil
	})
	if err != nil {
		return errors.Join(err, kept.remove())
	}
	result := shrunk{small.Seed, small.Orders, chaos.Schedule(small)}
	if p.asJSON {
		err = l.json(result)
	} else {
		l.line("Seed", "%d", result.Seed)
		l.line("Orders", "%d", result.Orders)
		l.line("Faults", "%d", len(result.Faults))
		for _, fault := range result.Faults {
			fmt.Fprintf(l.out, "  %3d  after %s: %s\n", fault.Number, text.Plural(fault.After, "order", "orders"), fault.What)
		}
	}
	if err := errors.Join(err, kept.keep()); err != nil {
		return err
	}
	p.Options = small
	return &exit.Error{Code: exit.Breach, Err: fmt.Errorf("logs and databases of the smallest run are in %s", kept.path), Hint: "the same again: " + p.command()}
}

// try makes a run in a directory of its own, and returns how it failed; empty if it
// did not. A run that cannot come to its end has failed, too.
func try(ctx context.Context, options chaos.Options) (dir runDir, failure string, err error) {
	if dir, err = makeRunDir(""); err != nil {
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
		return dir, text.Plural(report.Breaches(), "breach", "breaches"), nil
	}
	return dir, "", nil
}
