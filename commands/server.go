package commands

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/contrib/envconfig"

	"example.com/coffee/coffee/encryption"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/background"
	"example.com/coffee/commands/internal/certificates"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/ledgers"
	"example.com/coffee/commands/internal/local"
	"example.com/coffee/commands/internal/monitor"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/httpserver"
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
		Name:      "server",
		Usage:     "run a Temporal server with its Web UI and the order board",
		ArgsUsage: "[start-dev]",
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
			// Those of temporal server start-dev that have no effect here.
			&cli.StringFlag{Name: "color", Usage: "`WHEN` start-dev colours its output; no effect"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT` of start-dev's output; no effect"},
			&cli.BoolFlag{Name: "log-config", Usage: "start-dev logs its configuration; no effect"},
			&cli.BoolFlag{Name: "ui-disable-news-fetch", Usage: "fetch no news for the Web UI, as always"},
		}, local.WorkerFlags("WORKER (with --worker)")),
		Action: run(a, parseServer, runServer),
	}
}

// isStartDev reports whether another program, such as an SDK's test kit, starts this one as it
// does the Temporal CLI.
func isStartDev(c *cli.Context) bool { return c.Args().Len() == 1 && c.Args().First() == "start-dev" }

// inMemory reports whether a server keeps nothing.
func inMemory(c *cli.Context) bool {
	return c.Bool("in-memory") || isStartDev(c) && !c.IsSet("db-filename")
}

type serverPlan struct {
	server    devserver.Options
	inMemory  bool // otherwise a server without a database file has that in the data directory
	board     bool
	boardPort int    // 0 means a free one
	secure    string // the directory of the certificates; empty means none
	keyset    *encryption.Keyset
	codecPort int // 0 means a free one; there is a codec server if there are a keyset and a Web UI
	worker    *local.Worker
}

func parseServer(c *cli.Context) (plan serverPlan, err error) {
	if c.Args().Present() && !isStartDev(c) {
		return plan, commandline.NoArguments(c)
	}
	if plan.worker, err = workerBeside(c); err != nil {
		return plan, err
	}
	if plan.server, err = serverOptions(c); err != nil {
		return plan, err
	}
	if err := ledgers.CheckDatabaseName(c, plan.server.DatabaseFile); err != nil {
		return plan, err
	}
	if err := checkReach(c, plan.server); err != nil {
		return plan, err
	}
	port := func(flag string, offset int) int {
		if !c.IsSet(flag) && plan.server.Port != 0 {
			return plan.server.Port + offset
		}
		return c.Int(flag)
	}
	plan.boardPort, plan.codecPort = port("board-port", boardPortOffset), port("codec-port", codecPortOffset)
	plan.secure = c.String("secure")
	plan.board = plan.server.UI && !c.Bool("no-board") && (!isStartDev(c) || c.IsSet("board-port"))
	plan.inMemory = inMemory(c)
	switch {
	case c.Bool("no-board") && c.IsSet("board-port"):
		return plan, commandline.Errorf(c, "--no-board and --board-port exclude each other")
	case c.IsSet("encryption-keyset") && plan.worker == nil && !plan.server.UI:
		return plan, commandline.Errorf(c, "--encryption-keyset is for the codec server and the worker: with --headless it needs --worker")
	case c.IsSet("codec-port") && c.IsSet("ui-codec-endpoint"):
		return plan, commandline.Errorf(c, "--codec-port and --ui-codec-endpoint exclude each other")
	}
	if plan.keyset, err = connect.ParseKeyset(c); err != nil {
		return plan, err
	}
	if c.IsSet("codec-port") && plan.keyset == nil {
		return plan, commandline.Errorf(c, "--codec-port needs --encryption-keyset")
	}
	if plan.worker != nil {
		return plan, local.CheckRequired(c, *plan.worker, plan.keyset)
	}
	return plan, nil
}

// workerBeside returns the worker that the flags ask for; nil if they ask for none.
func workerBeside(c *cli.Context) (*local.Worker, error) {
	if !c.Bool("worker") {
		if c.IsSet("metrics-address") {
			return nil, commandline.Errorf(c, "--metrics-address is for the worker: it needs --worker; the server's own are on --metrics-port")
		}
		return nil, local.RefuseWorkerFlags(c, "--worker")
	}
	worker, err := local.ParseWorker(c)
	if err == nil {
		worker.Metrics, err = monitor.ParseAddress(c)
	}
	return &worker, err
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

// startAll starts a server and what is beside it, and says where everything is. A port beside it
// that is taken counts only when the server is ready: a second server on the same file should be
// told about the first one.
func startAll(ctx context.Context, a *app.App, tasks *background.Tasks, plan serverPlan) (err error) {
	options := plan.server
	if options.DatabaseFile == "" && !plan.inMemory {
		if err := ledgers.MakeDir(a); err != nil {
			return err
		}
		if options.DatabaseFile, err = defaultDatabase(a); err != nil {
			return err
		}
	}
	codec, codecErr := codecBeside(tasks, plan, &options)
	if options.TLS, err = makeCertificates(a, plan.secure, options); err != nil {
		return err
	}
	server, err := local.StartServer(ctx, a, tasks, options)
	if err := cmp.Or(err, codecErr); err != nil {
		return err
	}
	if codec != nil {
		tasks.Serve("codec server", codec, httpserver.New(plan.keyset.Handler(encryption.HandlerOptions{
			IP: codecIP, Namespaces: options.Namespaces, Origins: origins(server.UIURL())})))
	}
	var board, ledger, profile string // where they are
	if plan.board || plan.worker != nil {
		conn, meters, err := connectBeside(ctx, a, tasks, plan, server)
		if err != nil {
			return err
		}
		if plan.board {
			listener, err := local.ListenHTTP("order board", options.UIIP, plan.boardPort, "--board-port")
			if err != nil {
				return err
			}
			board = serveBoard(a, tasks, listener, conn, server.UIURL(), options.AllowedHosts, server.WebTLS(options.UIIP))
		}
		if plan.worker != nil {
			if ledger, err = work(ctx, a, tasks, conn, *plan.worker, meters, &options); err != nil {
				return err
			}
			meters.Serve(tasks, server.WebTLS)
		}
	}
	if plan.secure != "" {
		tls := envconfig.ClientConfigTLS{ClientCertPath: options.TLS.Client, ClientKeyPath: options.TLS.ClientKey, ServerCACertPath: options.TLS.CA}
		if profile, err = certificates.WriteProfile(filepath.Dir(options.TLS.CA), server.Address(), tls); err != nil {
			return err
		}
	}
	serverReady(a, server, board, options.CodecEndpoint, ledger, profile)
	return nil
}

// connectBeside connects to the server, for the board and the worker beside it.
func connectBeside(ctx context.Context, a *app.App, tasks *background.Tasks, plan serverPlan, server *devserver.Server) (conn *connect.Connection, meters *monitor.Monitor, err error) {
	options := connect.Options{Options: server.ClientOptions(), Keyset: plan.keyset, Reading: encryption.Options{Guard: local.NewGuard(a)}}
	if plan.worker != nil {
		options.Reading.Required = plan.worker.EncryptionRequired
		if meters, err = monitor.Open(tasks, plan.worker.Metrics, &options); err != nil {
			return nil, nil, err
		}
	}
	if conn, err = connect.Open(ctx, a, options); err != nil {
		return nil, nil, err
	}
	tasks.OnStop(func() error { conn.Close(); return nil })
	return conn, meters, nil
}

// serverReady prints where everything is.
func serverReady(a *app.App, server *devserver.Server, board, codec, ledger, profile string) {
	a.Out.Printf("Temporal server %s is ready\n", devserver.ServerVersion)
	for _, line := range []struct{ name, value string }{
		{"gRPC", server.Address()},
		{"HTTP", server.HTTPURL()},
		{"Web UI", server.UIURL()},
		{"Board", board},
		{"Codec", codec},
		{"Metrics", server.MetricsURL()},
		{"Database", cmp.Or(server.DatabaseFile(), "in memory")},
		{"Ledger", ledger},
		{"Profile", profile},
	} {
		if line.value != "" {
			a.Out.Printf("  %-9s %s\n", line.name, line.value)
		}
	}
	if profile != "" {
		a.Out.Notef("clients and workers use it with --config-file %s; other machines need copies of it, ca.crt, client.crt and client.key, with the address and the paths changed", profile)
	}
}
