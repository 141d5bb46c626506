package commands

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee/encryption"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/background"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/ledgers"
	"example.com/coffee/commands/internal/local"
	"example.com/coffee/commands/internal/monitor"
	"example.com/coffee/devserver"
)

// uiPortOffset is what start-dev adds to the port for the Web UI; board and
// codec server have the next ports.
const (
	uiPortOffset    = 1000
	boardPortOffset = 1001
	codecPortOffset = 1002
)

func serverCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:  "server",
		Usage: "run a Temporal server with its Web UI and the order board",
		Description: "coffee server start-dev takes all flags of temporal server start-dev, and like that keeps its data " +
			"in memory, unless --db-filename is given. Without the word, it keeps them across restarts.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "db-filename", Aliases: []string{"f"}, Usage: "SQLite database `FILE`", DefaultText: "coffee.db in the data directory"},
			&cli.BoolFlag{Name: "in-memory", Usage: "keep all data in memory; it is lost when the server stops"},
			&cli.BoolFlag{Name: "no-upgrade", Usage: "refuse the database of an older server instead of carrying it over"},
			&cli.BoolFlag{Name: "adopt", Usage: "take over the database of temporal server start-dev; the old file is kept"},
			&cli.StringFlag{Name: "ip", Usage: "`ADDRESS` to listen on", Value: "127.0.0.1"},
			&cli.StringFlag{Name: "secure", Usage: "encrypt, and let in only who has a certificate, but for the web pages on a loopback address; certificates are made in `DIR`"},
			&cli.BoolFlag{Name: "insecure", Usage: "listen beyond this machine without --secure: whoever can reach the server has full access"},
			&cli.IntFlag{Name: "port", Aliases: []string{"p"}, Usage: "`PORT` of the gRPC API", Value: 7233},
			&cli.IntFlag{Name: "http-port", Usage: "`PORT` of the HTTP API", DefaultText: "off"},
			&cli.StringFlag{Name: "ui-ip", Usage: "`ADDRESS` for the Web UI to listen on", DefaultText: "same as --ip"},
			&cli.IntFlag{Name: "ui-port", Usage: "`PORT` of the Web UI", DefaultText: "--port + 1000"},
			&cli.IntFlag{Name: "board-port", Usage: "`PORT` of the order board, on the Web UI's address", DefaultText: "--port + 1001"},
			allowedHostFlag(),
			&cli.StringFlag{Name: "ui-public-path", Usage: "`PATH` in front of the Web UI's pages, such as /temporal behind a proxy"},
			&cli.StringFlag{Name: "ui-asset-path", Usage: "serve another Web UI: the `DIR` of its files"},
			&cli.StringFlag{Name: "ui-codec-endpoint", Usage: "`URL` of a codec server for the Web UI"},
			&cli.BoolFlag{Name: "no-board", Usage: "run without the order board"},
			&cli.BoolFlag{Name: "headless", Usage: "run without the Web UI and the order board"},
			connect.KeysetFlag(""),
			&cli.IntFlag{Name: "codec-port", Usage: "`PORT` of the codec server, which decrypts for the Web UI", DefaultText: "--port + 1002, with a keyset"},
			&cli.IntFlag{Name: "metrics-port", Usage: "`PORT` of the Prometheus metrics", DefaultText: "off"},
			&cli.StringSliceFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "also have the namespace `NAME`, besides default; can be repeated"},
			&cli.DurationFlag{Name: "retention", Usage: "how long a finished order is kept: a `DURATION` of 1h or more", DefaultText: "72h in a new database"},
			&cli.StringSliceFlag{Name: "search-attribute", Usage: "also have a search attribute `NAME=TYPE`, such as Shop=Keyword; can be repeated"},
			&cli.StringSliceFlag{Name: "dynamic-config-value", Usage: "override a setting of the Temporal server, `KEY=JSON`; can be repeated"},
			&cli.StringSliceFlag{Name: "sqlite-pragma", Usage: "SQLite pragma `NAME=VALUE`; can be repeated"},
			&cli.BoolFlag{Name: "time-skipping", Usage: "let clients skip an order's backoffs, as coffee order --skip-time does"},
			&cli.BoolFlag{Name: "worker", Usage: "also run a worker"},
			monitor.Flag("WORKER (with --worker)"),
		}, startDevFlags(), local.WorkerFlags("WORKER (with --worker)")),
		Action: func(c *cli.Context) error {
			if err := takeStartDev(c); err != nil {
				return err
			}
			plan, err := parseServer(c, a)
			if err != nil {
				return err
			}
			return runServer(c.Context, a, plan)
		},
	}
}

// startDevFlags are those of temporal server start-dev that have no effect here, for whoever
// calls this program as that.
func startDevFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "color", Usage: "`WHEN` start-dev colours its output; no effect"},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT` of start-dev's output; no effect"},
		&cli.BoolFlag{Name: "log-config", Usage: "start-dev logs its configuration; no effect"},
		&cli.BoolFlag{Name: "ui-disable-news-fetch", Usage: "fetch no news for the Web UI, as always"},
	}
}

// takeStartDev lets other programs, such as the SDKs' test kits, start this one as they do
// the Temporal CLI.
func takeStartDev(c *cli.Context) error {
	if !isStartDev(c) {
		return commandline.NoArguments(c)
	}
	var err error
	if !c.IsSet("db-filename") {
		err = c.Set("in-memory", "true")
	}
	if err == nil && !c.IsSet("board-port") {
		err = c.Set("no-board", "true")
	}
	return err
}

func isStartDev(c *cli.Context) bool { return c.Args().Len() == 1 && c.Args().First() == "start-dev" }

// serverPlan is what the flags ask for.
type serverPlan struct {
	server    devserver.Options
	board     bool
	boardPort int    // 0 means a free one
	secure    string // the directory of the certificates; empty means none
	keyset    *encryption.Keyset
	codecPort int // 0 means a free one; there is a codec server if there are a keyset and a Web UI
	worker    *local.Worker
}

func parseServer(c *cli.Context, a *app.App) (plan serverPlan, err error) {
	if c.Bool("worker") {
		options, err := local.ParseWorker(c)
		if err != nil {
			return plan, err
		}
		if options.Metrics, err = monitor.ParseAddress(c); err != nil {
			return plan, err
		}
		plan.worker = &options
	} else if err := local.RefuseWorkerFlags(c, "--worker"); err != nil {
		return plan, err
	} else if c.IsSet("metrics-address") {
		return plan, commandline.Errorf(c, "--metrics-address is for the worker: it needs --worker; the server's own are on --metrics-port")
	}
	if plan.boardPort, err = commandline.ParsePort(c, "board-port"); err != nil {
		return plan, err
	}
	if plan.server, err = serverOptions(c, a.Out.Notef); err != nil {
		return plan, err
	}
	if err := ledgers.CheckDatabaseName(c, plan.server.DatabaseFile); err != nil {
		return plan, err
	}
	if err := checkReach(c, plan.server); err != nil {
		return plan, err
	}
	plan.secure, plan.board = c.String("secure"), plan.server.UI && !c.Bool("no-board")
	if c.Bool("no-board") && c.IsSet("board-port") {
		return plan, commandline.Errorf(c, "--no-board and --board-port exclude each other")
	}
	if !c.IsSet("board-port") && plan.server.Port != 0 {
		plan.boardPort = plan.server.Port + boardPortOffset
	}
	if c.IsSet("encryption-keyset") && plan.worker == nil && !plan.server.UI {
		return plan, commandline.Errorf(c, "--encryption-keyset is for the codec server and the worker: with --headless it needs --worker")
	}
	if plan.keyset, err = connect.ParseKeyset(c); err != nil {
		return plan, err
	}
	if plan.worker != nil {
		if err := local.CheckRequired(c, *plan.worker, plan.keyset); err != nil {
			return plan, err
		}
	}
	if plan.codecPort, err = commandline.ParsePort(c, "codec-port"); err != nil {
		return plan, err
	}
	if c.IsSet("codec-port") && c.IsSet("ui-codec-endpoint") {
		return plan, commandline.Errorf(c, "--codec-port and --ui-codec-endpoint exclude each other")
	}
	if c.IsSet("codec-port") && plan.keyset == nil {
		return plan, commandline.Errorf(c, "--codec-port needs --encryption-keyset")
	}
	if !c.IsSet("codec-port") && plan.server.Port != 0 {
		plan.codecPort = plan.server.Port + codecPortOffset
	}
	if plan.server.DatabaseFile == "" && !c.Bool("in-memory") {
		if err := ledgers.MakeDir(a); err != nil {
			return plan, err
		}
		plan.server.DatabaseFile, err = defaultDatabase(a)
	}
	return plan, err
}

// defaultDatabase returns the database file of a server if no flag names one.
func defaultDatabase(a *app.App) (string, error) {
	dir, err := ledgers.Dir(a)
	return filepath.Join(dir, "coffee.db"), err
}

func runServer(ctx context.Context, a *app.App, plan serverPlan) (err error) {
	a.Out.OutliveReaders()
	var tasks background.Tasks
	defer func() { err = errors.Join(err, tasks.Stop()) }()
	err = startAll(ctx, a, &tasks, plan)
	if ctx.Err() != nil && err != nil {
		return nil // an interrupt before it is ready is a clean stop, too
	}
	if err != nil {
		return err
	}
	tasks.Wait(ctx)
	return nil
}

// neighbour is what the flags ask for beside a server.
type neighbour interface {
	// name is what the user sees of it, in [serverReady].
	name() string
	// prepare is called before the server starts. It may complete its options.
	prepare(tasks *background.Tasks, options *devserver.Options) error
	// start is called when the server is ready. It returns where the neighbour is; empty
	// if it is nowhere.
	start(ctx context.Context, tasks *background.Tasks, h house) (where string, err error)
}

// house is a server that is ready, and the connection of its neighbours.
type house struct {
	server  *devserver.Server
	options devserver.Options
	conn    *connect.Connection // nil if nobody needs one
	meters  *monitor.Monitor    // nil without metrics
}

// neighbours returns what the plan asks for, in the order in which it starts.
func neighbours(a *app.App, plan serverPlan) (all []neighbour) {
	if plan.board {
		all = append(all, &serverBoard{a: a, port: plan.boardPort})
	}
	if plan.keyset != nil && plan.server.UI {
		all = append(all, &serverCodec{keyset: plan.keyset, port: plan.codecPort})
	}
	if plan.worker != nil {
		all = append(all, &serverWorker{a: a, plan: *plan.worker})
	}
	return append(all, &serverFiles{a: a, dir: plan.secure})
}

// startAll starts a server and its neighbours, and says where everything is.
func startAll(ctx context.Context, a *app.App, tasks *background.Tasks, plan serverPlan) error {
	h, beside := house{options: plan.server}, neighbours(a, plan)
	for _, n := range beside {
		if err := n.prepare(tasks, &h.options); err != nil {
			return err
		}
	}
	var err error
	if h.server, err = local.StartServer(ctx, a, tasks, h.options); err != nil {
		return err
	}
	if plan.board || plan.worker != nil {
		if err := h.connect(ctx, a, tasks, plan); err != nil {
			return err
		}
	}
	where := map[string]string{"Codec": h.options.CodecEndpoint}
	for _, n := range beside {
		if where[n.name()], err = n.start(ctx, tasks, h); err != nil {
			return err
		}
	}
	serverReady(a, h.server, where)
	return nil
}

// connect connects to the server, for all neighbours that need it.
func (h *house) connect(ctx context.Context, a *app.App, tasks *background.Tasks, plan serverPlan) (err error) {
	options := connect.Options{Options: h.server.ClientOptions(), Keyset: plan.keyset, Reading: encryption.Options{Guard: local.NewGuard(a)}}
	if plan.worker != nil {
		options.Reading.Required = plan.worker.EncryptionRequired
		if h.meters, err = monitor.Open(tasks, plan.worker.Metrics); err != nil {
			return err
		}
	}
	h.meters.Instrument(&options)
	if h.conn, err = connect.Open(ctx, a, options); err != nil {
		return err
	}
	tasks.OnStop(func() error { h.conn.Close(); return nil })
	return nil
}

// serverWorker is the worker beside a server.
type serverWorker struct {
	a    *app.App
	plan local.Worker
}

func (*serverWorker) name() string { return "Ledger" }

func (*serverWorker) prepare(*background.Tasks, *devserver.Options) error { return nil }

func (w *serverWorker) start(ctx context.Context, tasks *background.Tasks, h house) (string, error) {
	ledger, where, err := ledgers.Open(ctx, w.a, w.plan.Ledger, h.conn, h.options.DatabaseFile == "")
	if err != nil {
		return "", err
	}
	if err := local.StartWorker(ctx, w.a, tasks, h.conn, w.plan, ledger, h.meters, true); err != nil {
		return "", err
	}
	h.meters.Check(h.conn.Guard.Check)
	local.WatchVersion(w.a, tasks, h.conn, w.plan.Version.Version, h.meters)
	h.meters.Started(h.conn)
	h.meters.Serve(tasks, h.server.WebTLS) // the server goes on, whatever its worker can read
	return where, nil
}

// serverReady prints where everything is.
func serverReady(a *app.App, server *devserver.Server, where map[string]string) {
	database := server.DatabaseFile()
	if database == "" {
		database = "in memory"
	}
	a.Out.Printf("Temporal server %s is ready\n", devserver.ServerVersion)
	for _, line := range []struct{ name, value string }{
		{"gRPC", server.Address()},
		{"HTTP", server.HTTPURL()},
		{"Web UI", server.UIURL()},
		{"Board", where["Board"]},
		{"Codec", where["Codec"]},
		{"Metrics", server.MetricsURL()},
		{"Database", database},
		{"Ledger", where["Ledger"]},
		{"Profile", where["Profile"]},
	} {
		if line.value != "" {
			a.Out.Printf("  %-9s %s\n", line.name, line.value)
		}
	}
	if profile := where["Profile"]; profile != "" {
		a.Out.Notef("clients and workers use it with --config-file %s; other machines need copies of it, ca.crt, client.crt and client.key, with the address and the paths changed", profile)
	}
}
