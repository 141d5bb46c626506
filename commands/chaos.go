//go:build unix

package commands

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee/encryption"
	"example.com/coffee/commands/internal/chaos"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/tempdir"
)

func chaosCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "chaos",
		Usage: "prove that no order is lost and nobody is charged twice, under kill -9",
		Description: "Starts a server, two workers, a client and an order board, each in a process of its own, in a temporary directory. " +
			"The client places five orders a second: some it cancels, some it places twice, and some are invalid. " +
			"Meanwhile server, workers and client are killed with SIGKILL and started again, and for every four kills " +
			"a worker is frozen with SIGSTOP for so long that another can take over its work, and then resumed. " +
			"--faults has what else happens, from the network to operators. " +
			"At the end the orders are audited as by coffee audit, and what clients were told and what the board shows is checked; the exit code is 6 if something is wrong. " +
			"With --address it uses a server or cluster that is there, and starts only the other processes.",
		Flags: slices.Concat([]cli.Flag{
			&cli.IntFlag{Name: "orders", Usage: "place `N` orders", Value: 200},
			&cli.IntFlag{Name: "kills", Usage: "kill a process `N` times", Value: 20},
			&cli.Uint64Flag{Name: "seed", Usage: "the number `N` decides what is ordered and which faults are injected; what they hit still differs", DefaultText: "random"},
			&cli.StringFlag{Name: "faults", Usage: "`LIST` of the kinds of faults, with commas in between: " + strings.Join(chaos.Faults, ", ") + "; or none", DefaultText: "all that are possible"},
			&cli.Uint64Flag{Name: "shrink", Usage: "find the fewest orders and faults with which the run of seed `N` still fails", DefaultText: "make one run"},
			&cli.StringFlag{Name: "only", Usage: "of the faults of the seed inject only those with the `NUMBERS`, as --shrink prints them", Hidden: true},
			&cli.BoolFlag{Name: "upgrade", Usage: "the same as --faults kill,freeze,upgrade", Hidden: true},
			&cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` to work in, which is kept", DefaultText: "a temporary one, kept only on failure"},
			&cli.StringFlag{Name: "strike", Usage: "shell `COMMAND` that does harm to the cluster at --address, such as one that kills a node of it"},
			&cli.DurationFlag{Name: "patience", Usage: "`DURATION` that orders may take after the last fault", Hidden: true},
			outputFlag(), ledgerFlag(""),
		}, connectFlags()),
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
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "journal"},
			&cli.IntFlag{Name: "orders"},
			&cli.Uint64Flag{Name: "seed"},
		}, connectFlags()),
		Action: func(c *cli.Context) error {
			if c.String("address") == "" || c.String("journal") == "" {
				return usageErrorf(c, "chaos client is started by coffee chaos")
			}
			server, err := parseConnect(c)
			if err != nil {
				return err
			}
			conn, err := a.connect(c.Context, server)
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
	faults        []string
	only          []int // the numbers of the faults; nil means all
	patience      time.Duration
	shrink        bool
	dir           string // empty means a temporary one
	asJSON        bool
	// server is nil if the run starts one of its own.
	server *connectOptions
	keyset *encryption.Keyset
	flags  []string // for clients and workers: which server, which keyset
	ledger ledgerChoice
	strike string
}

func parseChaos(c *cli.Context) (plan chaosPlan, err error) {
	plan = chaosPlan{seed: c.Uint64("seed"), orders: c.Int("orders"), kills: c.Int("kills"), patience: c.Duration("patience"), dir: c.String("dir")}
	if plan.asJSON, err = wantsJSON(c); err != nil {
		return plan, err
	}
	if plan.orders < 1 || plan.kills < 0 {
		return plan, usageErrorf(c, "use 1 or more --orders and 0 or more --kills")
	}
	switch {
	case c.IsSet("shrink"):
		if c.IsSet("seed") || c.IsSet("dir") || c.IsSet("only") || c.IsSet("address") || c.IsSet("ledger") {
			return plan, usageErrorf(c, "--shrink names the seed, and makes directories, servers and ledgers of its own: leave --seed, --dir, --only, --address and --ledger out")
		}
		plan.shrink, plan.seed = true, c.Uint64("shrink")
	case !c.IsSet("seed"):
		plan.seed = rand.Uint64N(1_000_000)
	}
	for number := range strings.SplitSeq(c.String("only"), ",") {
		if number == "" {
			continue
		}
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 {
			return plan, usageErrorf(c, "--only has %q: use numbers from 0", number)
		}
		plan.only = append(plan.only, n)
	}
	if c.IsSet("only") && plan.only == nil {
		plan.only = []int{} // none of them
	}
	if err := parseCluster(c, &plan); err != nil {
		return plan, err
	}
	return plan, parseFaults(c, &plan)
}

// parseFaults parses which kinds of faults are wanted.
func parseFaults(c *cli.Context, plan *chaosPlan) error {
	possible := chaos.Faults
	if plan.server != nil {
		possible = chaos.ClusterFaults
	}
	switch {
	case c.String("faults") == "none":
	case c.IsSet("faults"):
		plan.faults = strings.Split(c.String("faults"), ",")
	case c.Bool("upgrade"):
		plan.faults = []string{"kill", "freeze", "upgrade"}
	default:
		plan.faults = possible
	}
	for _, name := range plan.faults {
		switch {
		case !slices.Contains(chaos.Faults, name):
			return usageErrorf(c, "--faults has %q: use some of %s", name, strings.Join(chaos.Faults, ","))
		case !slices.Contains(possible, name):
			return usageErrorf(c, "%s is for a server of the run's own: leave --address out", name)
		}
	}
	return nil
}

// parseCluster completes the plan of a run that uses a cluster.
func parseCluster(c *cli.Context, plan *chaosPlan) (err error) {
	if plan.keyset, err = parseKeyset(c); err != nil {
		return err
	}
	if plan.keyset != nil {
		plan.flags = append(plan.flags, "--encryption-keyset="+plan.keyset.Path())
	}
	for _, flag := range connectFlags() {
		switch name := flag.Names()[0]; {
		case !c.IsSet(name), name == "encryption-keyset":
		case !c.IsSet("address"): // the environment's server is not meant
			return usageErrorf(c, "--%s needs --address", name)
		default:
			plan.flags = append(plan.flags, fmt.Sprintf("--%s=%v", name, c.Value(name)))
		}
	}
	plan.strike = c.String("strike")
	if plan.ledger, err = parseLedger(c); err != nil {
		return err
	}
	if !c.IsSet("address") {
		if c.IsSet("strike") {
			return usageErrorf(c, "--strike needs --address")
		}
		if !plan.ledger.named { // the environment's is not meant
			plan.ledger = ledgerChoice{}
		}
		return nil
	}
	server, err := parseConnect(c)
	plan.server = &server
	return err
}

func runChaos(ctx context.Context, a *app, plan chaosPlan) error {
	if devserver.ServerVersion == "" && plan.server == nil {
		return devserver.ErrNoServer // its own processes would fail with it, one after the other
	}
	if plan.shrink {
		return runShrink(ctx, a, plan)
	}
	dir, err := makeChaosDir(plan.dir)
	if err != nil {
		return err
	}
	options := chaosOptions(a, plan)
	options.Dir = dir.path
	a.out.notef("seed %d: %s, %s; the directory is %s", plan.seed, plural(plan.orders, "order", "orders"), plural(len(chaos.Schedule(options)), "fault", "faults"), dir.path)
	if plan.server != nil {
		if err := useCluster(ctx, a, plan, &options); err != nil {
			return errors.Join(err, dir.remove())
		}
	}
	report, err := chaos.Run(ctx, options)
	if err != nil && ctx.Err() != nil {
		return errors.Join(ctx.Err(), dir.remove())
	}
	if err != nil {
		return &hintedError{errors.Join(err, dir.keep()), "logs and databases are in " + dir.path}
	}
	if plan.asJSON {
		err = a.out.json(report)
	} else {
		printChaos(a.out, report)
	}
	if err != nil {
		return err
	}
	if breaches := report.Breaches(); breaches > 0 {
		if err := dir.keep(); err != nil {
			return err
		}
		return &exitError{
			code:    exitBreach,
			message: fmt.Sprintf("%s; logs and databases are in %s", plural(breaches, "breach", "breaches"), dir.path),
			hint:    "the same faults again: " + plan.command(options),
		}
	}
	return dir.remove()
}

// chaosOptions returns the options of a run on a server of its own, without its directory.
func chaosOptions(a *app, plan chaosPlan) chaos.Options {
	return chaos.Options{
		Seed: plan.seed, Orders: plan.orders, Kills: plan.kills, Faults: plan.faults, Only: plan.only, Patience: plan.patience, Ledger: plan.ledger.where,
		MakeOlder: devserver.MakeOlder, Flags: plan.flags,
		Connect: func(ctx context.Context, address string) (client.Client, error) {
			return a.connect(ctx, connectOptions{Options: client.Options{HostPort: address, Namespace: client.DefaultNamespace}, keyset: plan.keyset})
		},
		Say: func(line string) { a.out.notef("%s", line) },
	}
}

// useCluster lets a run use the server that the plan names.
func useCluster(ctx context.Context, a *app, plan chaosPlan, options *chaos.Options) error {
	conn, err := a.connect(ctx, *plan.server)
	if err != nil {
		return err
	}
	defer conn.Close()
	where, err := a.ledgerPath(ctx, plan.ledger, conn)
	if err != nil {
		return err
	}
	options.Connect = func(ctx context.Context, _ string) (client.Client, error) { return a.connect(ctx, *plan.server) }
	options.Cluster = &chaos.Cluster{Address: conn.address, Namespace: conn.namespace, Strike: plan.strike}
	options.Ledger = where
	tls := plan.server.ConnectionOptions.TLS
	if tls == nil || tls.ServerName != "" || !slices.Contains(plan.faults, "network") {
		return nil
	}
	// The processes find a proxy at another address, and expect the server's name all the
	// same.
	if options.Cluster.ServerName, _, err = net.SplitHostPort(conn.address); err != nil {
		return &hintedError{errors.New("with TLS, the faults of the network need a single address, or --tls-server-name"), "choose other --faults"}
	}
	return nil
}

// chaosDir is the directory of a run. One that the user has named is the user's.
type chaosDir struct {
	path      string
	temporary *tempdir.Dir // nil if the user has named it
}

// makeChaosDir makes a directory, or returns the one that the user has named, which must
// be empty. Its path is absolute.
func makeChaosDir(named string) (chaosDir, error) {
	if named == "" {
		temporary, err := tempdir.Make("chaos")
		if err != nil {
			return chaosDir{}, err
		}
		return chaosDir{temporary.Path(), temporary}, nil
	}
	if err := os.MkdirAll(named, 0o700); err != nil {
		return chaosDir{}, err
	}
	entries, err := os.ReadDir(named)
	if err != nil {
		return chaosDir{}, err
	}
	if len(entries) > 0 {
		return chaosDir{}, fmt.Errorf("--dir %s is not empty", named)
	}
	path, err := filepath.Abs(named)
	return chaosDir{path: path}, err
}

// remove removes the directory unless it is the user's.
func (d chaosDir) remove() error {
	if d.temporary == nil {
		return nil
	}
	return d.temporary.Remove()
}

// keep leaves the directory to the user.
func (d chaosDir) keep() error {
	if d.temporary == nil {
		return nil
	}
	return d.temporary.Keep()
}

func printChaos(out *output, r *chaos.Report) {
	out.line("Seed", "%d", r.Seed)
	out.line("Took", "%.0f s", r.Seconds)
	out.line("Sent", "%s, %d acknowledged", plural(r.Sent, "order", "orders"), r.Acknowledged)
	out.line("Kills", "%d: %d of the server, %d of workers, %d of the client", r.Kills(), r.KillsOfServer, r.KillsOfWorkers, r.KillsOfClient)
	out.line("Freezes", "%d of workers; %s came late, %d refused", r.Freezes, plural(r.LateCharges, "charge", "charges"), r.LateRefused)
	if len(r.Faults) > 0 {
		var counts []string
		for _, kind := range slices.Sorted(maps.Keys(r.Faults)) {
			counts = append(counts, fmt.Sprintf("%s %d", kind, r.Faults[kind]))
		}
		out.line("Faults", "%s", strings.Join(counts, ", "))
	}
	if r.Strikes > 0 {
		out.line("Strikes", "%d at the cluster", r.Strikes)
	}
	if r.RolledOut > 0 {
		out.line("Upgrades", "%d of the server's database; workers rolled out %s", r.CarriedOver, plural(r.RolledOut, "time", "times"))
	}
	out.line("Recovery", "p50 %.1f s, p99 %.1f s, max %.1f s, from a fault to the next step of an order in progress", r.Recovery.P50, r.Recovery.P99, r.Recovery.Max)
	told := "what the clients were told can have been so"
	if r.Unexplained > 0 {
		told = fmt.Sprintf("what the clients were told of %s cannot have been so", plural(r.Unexplained, "order", "orders"))
	}
	out.line("Operations", "%d; %s", r.Operations, told)
	printAudit(out, r.Audit)
	for _, incident := range r.Incidents {
		out.printf("\nBREACH seen from outside\n  %s\n", incident)
	}
}
