//go:build unix && !noserver

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"

	"example.com/coffee/coffee/dial"
	"example.com/coffee/coffee/encryption"
	"example.com/coffee/commands"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/text"
	"example.com/coffee/lab/chaos"
)

func (l *lab) chaosCommand() *cli.Command {
	return &cli.Command{
		Name:  "chaos",
		Usage: "place orders while processes are killed and frozen, and much else fails",
		Description: "Starts a server, two workers, a client and an order board, each in a process of its own, in a temporary directory. " +
			"The client places five orders a second: some it cancels, some it places twice, and some are invalid. " +
			"Meanwhile server, workers and client are killed with SIGKILL and started again, and for every four kills " +
			"a worker is frozen with SIGSTOP for so long that another can take over its work, and then resumed. " +
			"--faults has what else happens, from the network to operators. " +
			"At the end the orders are audited as by coffee audit, and what clients were told and what the board shows is checked; the exit code is 6 if something is wrong. " +
			"With --address it uses a server or cluster that is there, and starts only the other processes.",
		Flags: slices.Concat(runFlags(), []cli.Flag{
			&cli.StringFlag{Name: "only", Usage: "of the faults of the seed inject only those with the `NUMBERS`, as shrink prints them"},
			&cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` to work in, which is kept", DefaultText: "a temporary one, kept only on failure"},
			&cli.StringFlag{Name: "strike", Usage: "shell `COMMAND` that does harm to the cluster at --address, such as one that kills a node of it"},
			&cli.StringFlag{Name: "ledger", Usage: "ledger of charges and refunds: a SQLite `FILE` or a postgres:// URL", DefaultText: "a file of the run's own; with --address as for coffee worker"},
		}, commands.ConnectFlags()),
		Action: func(c *cli.Context) error {
			plan, err := parseRun(c)
			if err != nil {
				return err
			}
			return l.chaos(c, plan)
		},
	}
}

// runFlags say what a run is like, whatever it runs on.
func runFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "orders", Usage: "place `N` orders", Value: 200},
		&cli.IntFlag{Name: "kills", Usage: "kill a process `N` times", Value: 20},
		&cli.Uint64Flag{Name: "seed", Usage: "the number `N` decides what is ordered and which faults are injected; what they hit still differs", DefaultText: "random"},
		&cli.StringFlag{Name: "faults", Usage: "`LIST` of the kinds of faults, with commas in between: " + strings.Join(chaos.Faults, ", ") + "; or none", DefaultText: "all that are possible"},
		&cli.DurationFlag{Name: "patience", Usage: "`DURATION` that orders may take after the last fault", DefaultText: "as long as their timeouts and pauses allow"},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT` of the report: text or json", Value: "text"},
	}
}

// clientCommand returns the client, which a run starts in its own process.
func (l *lab) clientCommand() *cli.Command {
	return &cli.Command{
		Name:   "client",
		Hidden: true,
		Usage:  "the client of a chaos run",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "journal", Required: true},
			&cli.IntFlag{Name: "orders"},
			&cli.Uint64Flag{Name: "seed"},
		}, commands.ConnectFlags()),
		Action: func(c *cli.Context) error {
			server, err := commands.Connect(c, l.err, l.options)
			if err != nil {
				return err
			}
			defer server.Close()
			return chaos.RunClient(c.Context, server, server.Namespace, c.String("journal"), c.Uint64("seed"), c.Int("orders"))
		},
	}
}

// plan is what the flags ask for.
type plan struct {
	chaos.Options
	asJSON bool
	// again are the flags that the same run needs besides those of its options.
	again string
}

func parseRun(c *cli.Context) (p plan, err error) {
	possible := chaos.Faults
	if c.IsSet("address") {
		possible = chaos.ClusterFaults
	}
	if p.Options, err = parseSize(c, chaos.Faults, possible); err != nil {
		return p, err
	}
	p.Seed, p.Patience, p.Ledger = c.Uint64("seed"), c.Duration("patience"), c.String("ledger")
	if !c.IsSet("seed") {
		p.Seed = rand.Uint64N(1_000_000)
	}
	switch p.asJSON = c.String("output") == "json"; {
	case !p.asJSON && c.String("output") != "text":
		return p, exit.Usagef(c.Command.HelpName, "--output is %q: use text, json", c.String("output"))
	case c.IsSet("strike") && !c.IsSet("address"):
		return p, exit.Usagef(c.Command.HelpName, "--strike needs --address")
	}
	if err := parseConnection(c, &p); err != nil {
		return p, err
	}
	for _, name := range p.Faults {
		if !slices.Contains(possible, name) {
			return p, exit.Usagef(c.Command.HelpName, "%s is for a server of the run's own: leave --address out", name)
		}
	}
	return p, nil
}

// parseSize parses how much is ordered and injected: of the known kinds of faults, by default
// those that are possible.
func parseSize(c *cli.Context, known, possible []string) (options chaos.Options, err error) {
	options = chaos.Options{Orders: c.Int("orders"), Kills: c.Int("kills"), Faults: possible}
	if options.Orders < 1 || options.Kills < 0 {
		return options, exit.Usagef(c.Command.HelpName, "use 1 or more --orders and 0 or more --kills")
	}
	switch list := c.String("faults"); {
	case list == "none":
		options.Faults = nil
	case c.IsSet("faults"):
		options.Faults = strings.Split(list, ",")
	}
	for _, name := range options.Faults {
		if !slices.Contains(known, name) {
			return options, exit.Usagef(c.Command.HelpName, "--faults has %q: use some of %s", name, strings.Join(known, ","))
		}
	}
	options.Only, err = parseOnly(c)
	return options, err
}

// parseOnly parses the numbers of the faults that are wanted; nil means all.
func parseOnly(c *cli.Context) (only []int, err error) {
	if c.IsSet("only") {
		only = []int{} // perhaps none of them
	}
	for number := range strings.SplitSeq(c.String("only"), ",") {
		if number == "" {
			continue
		}
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 {
			return nil, exit.Usagef(c.Command.HelpName, "--only has %q: use numbers from 0", number)
		}
		only = append(only, n)
	}
	return only, nil
}

// parseConnection completes the plan with what clients and workers are told of the server
// and the keyset.
func parseConnection(c *cli.Context, p *plan) error {
	var keyset *encryption.Keyset // nil means that orders are not encrypted
	if path := cmp.Or(c.String("encryption-keyset"), os.Getenv("COFFEE_ENCRYPTION_KEYSET")); path != "" {
		var err error
		if keyset, err = encryption.Open(path); err != nil {
			return err
		}
		p.Flags, p.again = append(p.Flags, "--encryption-keyset="+keyset.Path()), " --encryption-keyset …"
	}
	p.Connect = func(ctx context.Context, address string) (client.Client, error) {
		return dialServer(ctx, address, keyset)
	}
	for _, flag := range commands.ConnectFlags() {
		switch name := flag.Names()[0]; {
		case !c.IsSet(name), name == "encryption-keyset":
		case !c.IsSet("address"): // the environment's server is not meant
			return exit.Usagef(c.Command.HelpName, "--%s needs --address", name)
		default:
			p.Flags = append(p.Flags, fmt.Sprintf("--%s=%v", name, c.Value(name)))
		}
	}
	switch {
	case c.IsSet("address"):
		p.again += " --address …, with another namespace"
	case p.Ledger != "":
		p.again += " --ledger …, with another ledger"
	}
	return nil
}

// dialServer connects to a run's own server.
func dialServer(ctx context.Context, address string, keyset *encryption.Keyset) (client.Client, error) {
	options := client.Options{HostPort: address, Namespace: client.DefaultNamespace, Logger: dial.NewLogger(zerolog.Nop())}
	options.ConnectionOptions.DialOptions = []grpc.DialOption{dial.Guarded()}
	reading := encryption.Options{Namespace: options.Namespace}
	keyset.Configure(&options, reading)
	c, err := client.DialContext(ctx, options)
	if err != nil {
		return nil, err
	}
	return keyset.Client(c, reading), nil
}

func (l *lab) chaos(c *cli.Context, p plan) error {
	ctx := c.Context
	dir, err := makeRunDir(c.String("dir"))
	if err != nil {
		return err
	}
	p.Dir, p.Say = dir.path, func(line string) { l.notef("%s", line) }
	l.notef("seed %d: %s, %s; the directory is %s", p.Seed, text.Plural(p.Orders, "order", "orders"), text.Plural(len(chaos.Schedule(p.Options)), "fault", "faults"), dir.path)
	if c.IsSet("address") {
		if err := l.useCluster(c, &p); err != nil {
			return errors.Join(err, dir.remove())
		}
	}
	report, err := chaos.Run(ctx, p.Options)
	if err != nil && ctx.Err() != nil {
		return errors.Join(ctx.Err(), dir.remove())
	}
	if err != nil {
		return exit.Hinted(errors.Join(err, dir.keep()), "logs and databases are in "+dir.path)
	}
	if p.asJSON {
		err = l.json(report)
	} else {
		l.print(report)
	}
	if err != nil {
		return err
	}
	if breaches := report.Breaches(); breaches > 0 {
		if err := dir.keep(); err != nil {
			return err
		}
		return &exit.Error{Code: exit.Breach, Err: fmt.Errorf("%s; logs and databases are in %s", text.Plural(breaches, "breach", "breaches"), dir.path), Hint: "the same faults again: " + p.command()}
	}
	return dir.remove()
}

// useCluster lets a run use the server that the flags name.
func (l *lab) useCluster(c *cli.Context, p *plan) error {
	server, err := commands.Connect(c, l.err, commands.Options{})
	if err != nil {
		return err
	}
	defer server.Close()
	p.Connect = func(ctx context.Context, _ string) (client.Client, error) {
		again := *c
		again.Context = ctx
		return commands.Connect(&again, l.err, commands.Options{})
	}
	p.Cluster = &chaos.Cluster{Address: server.Address, Namespace: server.Namespace, Strike: c.String("strike")}
	p.Ledger = server.Ledger
	if server.TLS == nil || server.TLS.ServerName != "" || !slices.Contains(p.Faults, "network") {
		return nil
	}
	// The processes find a proxy at another address, and expect the server's name all the
	// same.
	if p.Cluster.ServerName, _, err = net.SplitHostPort(server.Address); err != nil {
		return exit.Hinted(errors.New("with TLS, the faults of the network need a single address, or --tls-server-name"), "choose other --faults")
	}
	return nil
}

// command returns the command that injects the faults of a run again.
func (p plan) command() string {
	if p.Only != nil && len(p.Only) == 0 {
		p.Kills, p.Only = 0, nil // and so no other faults, but upgrades
		p.Faults = slices.DeleteFunc(slices.Clone(p.Faults), func(name string) bool { return name == "upgrade" })
	}
	return again("chaos", "seed", p.Options) + p.again
}

// again returns the command that makes a run again.
func again(command, seed string, o chaos.Options) string {
	command = fmt.Sprintf("go run ./lab %s --orders %d --kills %d --%s %d --faults %s", command, o.Orders, o.Kills, seed, o.Seed, cmp.Or(strings.Join(o.Faults, ","), "none"))
	switch {
	case o.Only == nil:
		return command
	case len(o.Only) == 0:
		return command + ` --only ""`
	}
	return command + " --only " + strings.Trim(strings.ReplaceAll(fmt.Sprint(o.Only), " ", ","), "[]")
}

// print prints the report for people.
func (l *lab) print(r *chaos.Report) {
	l.line("Seed", "%d", r.Seed)
	l.line("Took", "%.0f s", r.Seconds)
	l.line("Sent", "%s, %d acknowledged", text.Plural(r.Sent, "order", "orders"), r.Acknowledged)
	l.line("Kills", "%d: %d of the server, %d of workers, %d of the client", r.Kills(), r.KillsOfServer, r.KillsOfWorkers, r.KillsOfClient)
	l.line("Freezes", "%d of workers; %s came late, %d refused", r.Freezes, text.Plural(r.LateCharges, "charge", "charges"), r.LateRefused)
	if len(r.Faults) > 0 {
		var counts []string
		for _, kind := range slices.Sorted(maps.Keys(r.Faults)) {
			counts = append(counts, fmt.Sprintf("%s %d", kind, r.Faults[kind]))
		}
		l.line("Faults", "%s", strings.Join(counts, ", "))
	}
	if r.Strikes > 0 {
		l.line("Strikes", "%d at the cluster", r.Strikes)
	}
	if r.RolledOut > 0 {
		l.line("Upgrades", "%d of the server's database; workers rolled out %s", r.CarriedOver, text.Plural(r.RolledOut, "time", "times"))
	}
	l.line("Recovery", "p50 %.1f s, p99 %.1f s, max %.1f s, from a fault to the next step of an order in progress", r.Recovery.P50, r.Recovery.P99, r.Recovery.Max)
	told := "what the clients were told can have been so"
	if r.Unexplained > 0 {
		told = fmt.Sprintf("what the clients were told of %s cannot have been so", text.Plural(r.Unexplained, "order", "orders"))
	}
	l.line("Operations", "%d; %s", r.Operations, told)
	commands.PrintAudit(l.out, r.Audit)
	for _, incident := range r.Incidents {
		fmt.Fprintf(l.out, "\nBREACH seen from outside\n  %s\n", incident)
	}
}
