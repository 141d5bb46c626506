//go:build unix

package commands

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"

	"example.com/coffee/commands/internal/chaos"
	"example.com/coffee/devserver"
)

func chaosCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "chaos",
		Usage: "prove that no order is lost and nobody is charged twice, under kill -9",
		Description: "Starts a server, two workers and a client, each in a process of its own, in a temporary directory. " +
			"The client places five orders a second: some it cancels, some it places twice, and some are invalid. " +
			"Meanwhile the processes are killed with SIGKILL and started again, and for every four kills " +
			"a worker is frozen with SIGSTOP until another has taken over its work, and then resumed. " +
			"At the end the orders are audited as by coffee audit; the exit code is 6 if a rule is broken.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "orders", Usage: "place `N` orders", Value: 200},
			&cli.IntFlag{Name: "kills", Usage: "kill a process `N` times", Value: 20},
			&cli.Uint64Flag{Name: "seed", Usage: "`N` that decides what is ordered and which faults are injected; what they hit still differs", DefaultText: "random"},
			&cli.BoolFlag{Name: "upgrade", Usage: "also carry the server's database over from an older version, and roll the workers forward to another release and back"},
			&cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` to work in, which is kept", DefaultText: "a temporary one, kept only on failure"},
			outputFlag(),
		},
		Subcommands: []*cli.Command{chaosClientCommand(a)},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			plan, err := parseChaos(c)
			if err != nil {
				return err
			}
			return runChaos(c.Context, a, plan)
		},
	}
}

// chaosClientCommand returns the client, which a run starts in its own process.
func chaosClientCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:   "client",
		Hidden: true,
		Usage:  "the client of a chaos run",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "address"},
			&cli.StringFlag{Name: "journal"},
			&cli.IntFlag{Name: "orders"},
			&cli.Uint64Flag{Name: "seed"},
		},
		Action: func(c *cli.Context) error {
			if c.String("address") == "" || c.String("journal") == "" {
				return usageErrorf(c, "chaos client is started by coffee chaos")
			}
			conn, err := a.connect(c.Context, client.Options{HostPort: c.String("address"), Namespace: client.DefaultNamespace})
			if err != nil {
				return err
			}
			defer conn.Close()
			return chaos.RunClient(c.Context, conn, conn.namespace, c.String("journal"), c.Uint64("seed"), c.Int("orders"))
		},
	}
}

// chaosPlan is what the flags ask for.
type chaosPlan struct {
	seed          uint64
	orders, kills int
	upgrade       bool
	dir           string // empty means a temporary one
	asJSON        bool
}

func parseChaos(c *cli.Context) (plan chaosPlan, err error) {
	plan = chaosPlan{seed: c.Uint64("seed"), orders: c.Int("orders"), kills: c.Int("kills"), upgrade: c.Bool("upgrade"), dir: c.String("dir")}
	if plan.asJSON, err = wantsJSON(c); err != nil {
		return plan, err
	}
	if plan.orders < 1 || plan.kills < 0 {
		return plan, usageErrorf(c, "use 1 or more --orders and 0 or more --kills")
	}
	if !c.IsSet("seed") {
		plan.seed = rand.Uint64N(1_000_000)
	}
	return plan, nil
}

func runChaos(ctx context.Context, a *app, plan chaosPlan) error {
	if devserver.ServerVersion == "" {
		return devserver.ErrNoServer // its own processes would fail with it, one after the other
	}
	dir, err := makeChaosDir(plan.dir)
	if err != nil {
		return err
	}
	cleanUp := func() error {
		if plan.dir != "" {
			return nil
		}
		return os.RemoveAll(dir)
	}
	a.out.notef("seed %d: %s, %s; the directory is %s", plan.seed, plural(plan.orders, "order", "orders"), plural(plan.kills, "kill", "kills"), dir)
	options := chaos.Options{
		Seed: plan.seed, Orders: plan.orders, Kills: plan.kills, Dir: dir,
		Connect: func(ctx context.Context, address string) (client.Client, error) {
			return a.connect(ctx, client.Options{HostPort: address, Namespace: client.DefaultNamespace})
		},
		Say: func(line string) { a.out.notef("%s", line) },
	}
	again := fmt.Sprintf("coffee chaos --orders %d --kills %d --seed %d", plan.orders, plan.kills, plan.seed)
	if plan.upgrade {
		options.MakeOlder = devserver.MakeOlder
		again += " --upgrade"
	}
	report, err := chaos.Run(ctx, options)
	if err != nil && ctx.Err() != nil {
		return errors.Join(ctx.Err(), cleanUp())
	}
	if err != nil {
		return &hintedError{err, "logs and databases are in " + dir}
	}
	if plan.asJSON {
		err = a.out.json(report)
	} else {
		printChaos(a.out, report)
	}
	if err != nil {
		return err
	}
	if breaches := len(report.Audit.Breaches) + len(report.Incidents); breaches > 0 {
		return &exitError{
			code:    exitBreach,
			message: fmt.Sprintf("%s; logs and databases are in %s", plural(breaches, "breach", "breaches"), dir),
			hint:    "the same faults again: " + again,
		}
	}
	return cleanUp()
}

// makeChaosDir returns the absolute path of a directory that is empty.
func makeChaosDir(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "coffee-chaos-*")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("--dir %s is not empty", dir)
	}
	return filepath.Abs(dir)
}

func printChaos(out *output, r *chaos.Report) {
	out.line("Seed", "%d", r.Seed)
	out.line("Took", "%.0f s", r.Seconds)
	out.line("Sent", "%s, %d acknowledged", plural(r.Sent, "order", "orders"), r.Acknowledged)
	out.line("Kills", "%d: %d of the server, %d of workers, %d of the client", r.Kills(), r.KillsOfServer, r.KillsOfWorkers, r.KillsOfClient)
	out.line("Freezes", "%d of workers; %s came late, %d refused", r.Freezes, plural(r.LateCharges, "charge", "charges"), r.LateRefused)
	if r.RolledOut > 0 {
		out.line("Upgrades", "%d of the server's database; workers rolled out %s", r.CarriedOver, plural(r.RolledOut, "time", "times"))
	}
	out.line("Recovery", "p50 %.1f s, p99 %.1f s, max %.1f s, from a fault to the next step of an order in progress", r.Recovery.P50, r.Recovery.P99, r.Recovery.Max)
	printAudit(out, r.Audit)
	for _, incident := range r.Incidents {
		out.printf("\nBREACH seen from outside\n  %s\n", incident)
	}
}
