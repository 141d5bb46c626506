package commands

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v3"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/board"
	"example.com/coffee/devserver"
)

func boardCommand(out *output) *cli.Command {
	return &cli.Command{
		Name:  "board",
		Usage: "serve the order board, a page in the browser",
		Description: "The page shows the orders of any Temporal server as they move, and places and cancels them. " +
			"It asks nobody for a password, so it listens on this machine alone unless it is told otherwise. coffee server has a board of its own.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "ip", Usage: "`ADDRESS` to listen on", Value: "127.0.0.1"},
			&cli.IntFlag{Name: "port", Usage: "`PORT` to listen on; 0 means a free one", Value: 8080},
			&cli.StringFlag{Name: "ui-url", Usage: "`URL` of Temporal's Web UI, for links to it (default: the one of a server on this machine)"},
		}, connectFlags()),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			return runBoard(ctx, cmd, out)
		},
	}
}

func runBoard(ctx context.Context, cmd *cli.Command, out *output) (err error) {
	profile, err := connectProfile(cmd)
	if err != nil {
		return err
	}
	options, err := profile.ToClientOptions(envconfig.ToClientOptionsRequest{})
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	// It need not be there yet.
	conn, err := out.dialLater(options)
	if err != nil {
		return err
	}
	defer conn.Close()
	uiURL := cmd.String("ui-url")
	if host, port, err := net.SplitHostPort(options.HostPort); err == nil && uiURL == "" && (host == "localhost" || devserver.IsLoopback(host)) {
		if n, err := strconv.Atoi(port); err == nil {
			uiURL = "http://" + net.JoinHostPort(host, strconv.Itoa(n+uiPortOffset))
		}
	}
	ip := cmd.String("ip")
	if net.ParseIP(ip) == nil {
		return usageErrorf(cmd, "--ip is %q: use an IP address", ip)
	}
	if port := cmd.Int("port"); port < 0 || port > 65535 {
		return usageErrorf(cmd, "--port is %d: ports are 0 to 65535", port)
	}
	if !devserver.IsLoopback(ip) {
		out.log.Warn().Str("ip", ip).Msg("listening beyond this machine: whoever reaches the board can place and cancel orders")
	}
	listener, err := devserver.Listen("board", ip, cmd.Int("port"))
	if err != nil {
		return err
	}
	served := out.serveBoard(listener, conn, uiURL)
	out.printf("Order board http://%s\n", listener.Addr())
	select {
	case <-ctx.Done():
	case err := <-served.failed:
		return errors.Join(err, served.stop())
	}
	return served.stop()
}

// servedBoard is a board in a goroutine.
type servedBoard struct {
	server *http.Server
	cancel context.CancelFunc
	done   chan struct{} // the watcher has ended
	failed chan error
}

// serveBoard serves a board on a listener, which it takes over.
func (o *output) serveBoard(listener net.Listener, conn *connection, uiURL string) *servedBoard {
	b := board.New(board.Options{
		Orders:    coffee.NewClient(conn, conn.namespace),
		Explain:   func(err error) string { return explainServer(err, conn.address) },
		UIURL:     uiURL,
		Namespace: conn.namespace,
	})
	ctx, cancel := context.WithCancel(context.Background())
	served := &servedBoard{server: b.Server(listener.Addr()), cancel: cancel, done: make(chan struct{}), failed: make(chan error, 1)}
	go func() {
		defer close(served.done)
		b.Run(ctx)
	}()
	go func() {
		if err := served.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			served.failed <- fmt.Errorf("the board failed: %w", err)
		}
	}()
	return served
}

// stop lets requests finish that are under way, for a second.
func (s *servedBoard) stop() error {
	s.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.server.Close()
	}
	<-s.done
	return err
}

// dialLater makes a client of a server that need not be there yet.
func (o *output) dialLater(options client.Options) (*connection, error) {
	if err := o.completeOptions(&options); err != nil {
		return nil, err
	}
	c, err := client.NewLazyClient(options)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return &connection{Client: c, address: options.HostPort, namespace: options.Namespace}, nil
}
