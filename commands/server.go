package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"example.com/coffee/devserver"
)

// uiPortOffset is what start-dev adds to the port for the Web UI; the board
// comes after it.
const (
	uiPortOffset    = 1000
	boardPortOffset = 1001
)

func serverCommand(out *output) *cli.Command {
	return &cli.Command{
		Name:  "server",
		Usage: "run a Temporal server with its Web UI and the order board",
		Description: "The flags are those of temporal server start-dev. Unlike there, what the server knows " +
			"survives a restart, unless --in-memory is given.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "db-filename", Aliases: []string{"f"}, Usage: "SQLite `FILE` that keeps everything (default: coffee.db in the data directory)"},
			&cli.BoolFlag{Name: "in-memory", Usage: "keep everything in memory: it is gone when the server stops"},
			&cli.StringFlag{Name: "ip", Usage: "`ADDRESS` to listen on", Value: "127.0.0.1"},
			&cli.IntFlag{Name: "port", Aliases: []string{"p"}, Usage: "`PORT` of the gRPC API", Value: 7233},
			&cli.IntFlag{Name: "http-port", Usage: "`PORT` of the HTTP API (default: off)", HideDefault: true},
			&cli.StringFlag{Name: "ui-ip", Usage: "`ADDRESS` for the Web UI to listen on (default: that of --ip)"},
			&cli.IntFlag{Name: "ui-port", Usage: "`PORT` of the Web UI (default: that of --port + 1000)", HideDefault: true},
			&cli.IntFlag{Name: "board-port", Usage: "`PORT` of the order board, which listens where the Web UI does (default: that of --port + 1001)", HideDefault: true},
			&cli.BoolFlag{Name: "headless", Usage: "run without the Web UI and the order board"},
			&cli.IntFlag{Name: "metrics-port", Usage: "`PORT` of the Prometheus metrics (default: off)", HideDefault: true},
			&cli.StringSliceFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "`NAME` of a namespace to have besides default; can be repeated"},
			&cli.DurationFlag{Name: "retention", Usage: "how long finished orders are kept, 1h or more (default: 72h in a new database)", HideDefault: true},
			&cli.StringSliceFlag{Name: "search-attribute", Usage: "`NAME=TYPE` of a search attribute to have; can be repeated"},
			&cli.StringSliceFlag{Name: "dynamic-config-value", Usage: "`KEY=JSON` for the server's dynamic configuration; can be repeated"},
			&cli.StringSliceFlag{Name: "sqlite-pragma", Usage: "`NAME=VALUE` of a SQLite pragma; can be repeated"},
			&cli.BoolFlag{Name: "worker", Usage: "run a worker as well"},
		}, workerFlags()),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			return runServer(ctx, cmd, out)
		},
	}
}

func runServer(ctx context.Context, cmd *cli.Command, out *output) (err error) {
	if !cmd.Bool("worker") {
		if err := refuseWorkerFlags(cmd, "--worker"); err != nil {
			return err
		}
	}
	workerOptions, err := out.workerOptions(cmd)
	if err != nil {
		return err
	}
	options, err := serverOptions(cmd, out)
	if err != nil {
		return err
	}
	for _, ip := range []string{options.IP, options.UIIP} {
		if !devserver.IsLoopback(ip) {
			out.log.Warn().Str("ip", ip).Msg("listening beyond this machine: whoever reaches the server can do everything")
			break
		}
	}
	server, err := startServer(ctx, options)
	if ctx.Err() != nil && err != nil {
		return nil // interrupted before it was ready: that is stopped as well
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()

	// A second server should have heard of the first one by now, not of its ports.
	boardListener, err := listenForBoard(cmd, options)
	if err != nil {
		return err
	}
	if boardListener != nil {
		defer boardListener.Close() // again, if the board has closed it
	}
	var conn *connection
	if boardListener != nil || cmd.Bool("worker") {
		if conn, err = out.dial(ctx, client.Options{HostPort: server.Address(), Namespace: options.Namespaces[0]}); err != nil {
			return err
		}
		defer conn.Close()
	}
	var boardFailed chan error
	boardURL := ""
	if boardListener != nil {
		served := out.serveBoard(boardListener, conn, server.UIURL())
		defer func() { err = errors.Join(err, served.stop()) }()
		boardFailed, boardURL = served.failed, "http://"+boardListener.Addr().String()
	}
	var worker *runningWorker
	ledger := ""
	if cmd.Bool("worker") {
		book, where, err := openLedger(ctx, cmd, conn, options.DatabaseFile == "")
		if err != nil {
			return err
		}
		if worker, err = startWorker(ctx, conn, workerOptions, book); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, worker.stop()) }()
		ledger = where
	}
	out.serverReady(server, boardURL, ledger)

	var workerDone chan error
	if worker != nil {
		workerDone = worker.done
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-boardFailed:
		return err
	case err := <-server.Failed():
		return fmt.Errorf("the server failed: %w", err)
	case err := <-workerDone:
		worker.done <- nil // for stop
		return err
	}
}

// serverReady says where everything is.
func (o *output) serverReady(server *devserver.Server, boardURL, ledger string) {
	database := server.DatabaseFile()
	if database == "" {
		database = "in memory"
	}
	o.printf("Temporal server %s is ready\n", devserver.ServerVersion)
	for _, line := range []struct{ name, value string }{
		{"gRPC", server.Address()},
		{"HTTP", server.HTTPURL()},
		{"Web UI", server.UIURL()},
		{"Board", boardURL},
		{"Metrics", server.MetricsURL()},
		{"Database", database},
		{"Ledger", ledger},
	} {
		if line.value != "" {
			o.printf("  %-9s %s\n", line.name, line.value)
		}
	}
}

// listenForBoard opens the listener of the order board; it is nil if there is to
// be none.
func listenForBoard(cmd *cli.Command, options devserver.Options) (net.Listener, error) {
	if !options.UI {
		return nil, nil
	}
	port := cmd.Int("board-port")
	if !cmd.IsSet("board-port") && options.Port != 0 {
		port = options.Port + boardPortOffset
	}
	return devserver.Listen("order board", options.UIIP, port)
}

// serverOptions turns the flags into options. It touches nothing but the data
// directory, where the database is by default.
func serverOptions(cmd *cli.Command, out *output) (devserver.Options, error) {
	options := devserver.Options{
		IP:               cmd.String("ip"),
		Port:             cmd.Int("port"),
		HTTPPort:         cmd.Int("http-port"),
		MetricsPort:      cmd.Int("metrics-port"),
		UI:               !cmd.Bool("headless"),
		UIIP:             cmd.String("ui-ip"),
		UIPort:           cmd.Int("ui-port"),
		Namespaces:       append([]string{client.DefaultNamespace}, cmd.StringSlice("namespace")...),
		SearchAttributes: searchAttributes(),
		Retention:        cmd.Duration("retention"),
		SQLitePragmas:    map[string]string{},
		DynamicConfig:    map[string]any{},
		DatabaseFile:     cmd.String("db-filename"),
		Log:              out.platform,
	}
	if cmd.IsSet("retention") && options.Retention < time.Hour {
		return options, usageErrorf(cmd, "--retention is %v: use 1h or more", options.Retention)
	}
	if options.UIIP == "" {
		options.UIIP = options.IP
	}
	if !cmd.IsSet("ui-port") && options.Port != 0 {
		options.UIPort = options.Port + uiPortOffset
	}
	if !options.UI {
		for _, flag := range []string{"ui-ip", "ui-port", "board-port"} {
			if cmd.IsSet(flag) {
				return options, usageErrorf(cmd, "--headless means no Web UI and no board: --%s makes no sense with it", flag)
			}
		}
	}
	if port := cmd.Int("board-port"); port < 0 || port > 65535 {
		return options, usageErrorf(cmd, "--board-port is %d: ports are 0 to 65535", port)
	}
	for _, pair := range cmd.StringSlice("search-attribute") {
		name, value, err := keyValue(cmd, "search-attribute", pair)
		if err != nil {
			return options, err
		}
		kind, err := enumspb.IndexedValueTypeFromString(value)
		if err != nil || kind == enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED {
			return options, usageErrorf(cmd, "--search-attribute %s: there is no type %q; there are Bool, Datetime, Double, Int, Keyword, KeywordList, Text", name, value)
		}
		options.SearchAttributes[name] = kind
	}
	for _, pair := range cmd.StringSlice("dynamic-config-value") {
		name, value, err := keyValue(cmd, "dynamic-config-value", pair)
		if err != nil {
			return options, err
		}
		var decoded any
		if err := json.Unmarshal([]byte(value), &decoded); err != nil {
			return options, usageErrorf(cmd, "--dynamic-config-value %s: %q is not JSON (a string needs quotes)", name, value)
		}
		options.DynamicConfig[name] = decoded
	}
	for _, pair := range cmd.StringSlice("sqlite-pragma") {
		name, value, err := keyValue(cmd, "sqlite-pragma", pair)
		if err != nil {
			return options, err
		}
		options.SQLitePragmas[name] = value
	}
	switch {
	case cmd.Bool("in-memory") && options.DatabaseFile != "":
		return options, usageErrorf(cmd, "--in-memory and --db-filename exclude each other")
	case !cmd.Bool("in-memory") && options.DatabaseFile == "":
		dir, err := dataDir(out.log)
		if err != nil {
			return options, err
		}
		options.DatabaseFile = filepath.Join(dir, "coffee.db")
	}
	return options, nil
}

func keyValue(cmd *cli.Command, flag, pair string) (key, value string, err error) {
	key, value, ok := strings.Cut(pair, "=")
	if !ok || key == "" {
		return "", "", usageErrorf(cmd, "--%s is %q: use NAME=VALUE", flag, pair)
	}
	return key, value, nil
}
