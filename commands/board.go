package commands

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee/board"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/background"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/local"
	"example.com/coffee/commands/internal/monitor"
	"example.com/coffee/devserver"
)

func boardCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:  "board",
		Usage: "serve the order board, a web page",
		Description: "Shows the orders of any Temporal server as they move, and lets you place and cancel them. " +
			"It has no password, so by default it listens on this machine only. coffee server includes a board.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "ip", Usage: "`ADDRESS` to listen on", Value: "127.0.0.1"},
			&cli.IntFlag{Name: "port", Usage: "`PORT` to listen on; 0 means a free one", Value: 8080},
			allowedHostFlag(),
			monitor.Flag(""),
			&cli.StringFlag{Name: "ui-url", Usage: "`URL` of Temporal's Web UI, for links to it", DefaultText: "that of a server on this machine"},
		}, connect.Flags()),
		Action: run(a, parseBoard, runBoard),
	}
}

// allowedHostFlag lets browsers come under the name of a proxy.
func allowedHostFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "allowed-host", Usage: "also answer browsers that come to the host `NAME`, that of a proxy; can be repeated"}
}

type boardPlan struct {
	server connect.Options
	uiURL  string
	ip     string
	port   int
	// allowedHosts are names of a proxy, see [board.Options].
	allowedHosts []string
	// metrics is the address to serve metrics on; empty means none.
	metrics string
}

func parseBoard(c *cli.Context) (plan boardPlan, err error) {
	plan = boardPlan{ip: commandline.IP(c, "ip"), port: c.Int("port"), allowedHosts: c.StringSlice("allowed-host"), uiURL: c.String("ui-url")}
	if plan.metrics, err = monitor.ParseAddress(c); err != nil {
		return plan, err
	}
	if plan.server, err = connect.Parse(c); err != nil {
		return plan, err
	}
	host, port, _ := net.SplitHostPort(plan.server.HostPort) // it is valid
	if n, err := strconv.Atoi(port); err == nil && plan.uiURL == "" && connect.OnThisMachine(plan.server.HostPort) {
		plan.uiURL = "http://" + net.JoinHostPort(host, strconv.Itoa(n+uiPortOffset))
	}
	return plan, nil
}

func runBoard(ctx context.Context, a *app.App, plan boardPlan) (err error) {
	a.Out.OutliveReaders()
	var tasks background.Tasks
	defer func() { err = errors.Join(err, tasks.Stop()) }()
	server := plan.server
	meters, err := monitor.Open(&tasks, plan.metrics, &server)
	if err != nil {
		return err
	}
	conn, err := connect.OpenLater(a, server)
	if err != nil {
		return err
	}
	tasks.OnStop(func() error { conn.Close(); return nil })
	if !devserver.IsLoopback(plan.ip) {
		a.Log.Warn().Str("ip", plan.ip).Msg("listening beyond this machine: anyone who can reach the board can place and cancel orders")
	}
	listener, err := local.ListenHTTP("order board", plan.ip, plan.port, "--port")
	if err != nil {
		return err
	}
	meters.Started(conn)
	meters.Serve(&tasks, nil)
	a.Out.Printf("Order board %s\n", serveBoard(a, &tasks, listener, conn, plan.uiURL, plan.allowedHosts, nil))
	tasks.Wait(ctx)
	return nil
}

// serveBoard serves a board on a listener, which it takes over, and returns its
// URL.
func serveBoard(a *app.App, tasks *background.Tasks, listener net.Listener, conn *connect.Connection, uiURL string, allowedHosts []string, config *tls.Config) string {
	b := board.New(board.Options{
		Orders:    conn.Orders(),
		Explain:   conn.At.Explain,
		UIURL:     uiURL,
		Namespace: conn.Namespace, AllowedHosts: allowedHosts,
	})
	server := b.Server(listener.Addr())
	if config != nil {
		// A browser checks by the certificate that it is where it was told to go.
		server.Handler = b.Handler("")
	}
	tasks.Start(func(ctx context.Context) error {
		b.Run(ctx)
		return nil
	})
	tasks.Serve("board", background.WithTLS(listener, config), server)
	return background.Scheme(config) + "://" + listener.Addr().String()
}
