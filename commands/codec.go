package commands

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee/encryption"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/background"
	"example.com/coffee/commands/internal/commandline"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/local"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/httpserver"
	"example.com/coffee/internal/renewed"
)

func codecCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:  "codec",
		Usage: "decrypt orders for Temporal's Web UI and command line",
		Description: "Serves Temporal's codec server protocol: set the URL in the Web UI's settings, or give it to temporal with --codec-endpoint. " +
			"Whoever can reach it can decrypt, so by default it listens on this machine only, and it answers only pages of --origin. " +
			"coffee server --encryption-keyset includes one.",
		Flags: []cli.Flag{
			connect.KeysetFlag(""),
			&cli.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "`NAME` of the namespace whose orders it decrypts", Value: client.DefaultNamespace},
			&cli.StringSliceFlag{Name: "origin", Usage: "`URL` of a Web UI that may call it; can be repeated", DefaultText: "that of coffee server on this machine"},
			&cli.StringFlag{Name: "ip", Usage: "`ADDRESS` to listen on; beyond this machine it needs a certificate", Value: "127.0.0.1"},
			&cli.IntFlag{Name: "port", Usage: "`PORT` to listen on; 0 means a free one", Value: 8081},
			&cli.StringFlag{Name: "tls-cert-path", Usage: "its certificate `FILE`"},
			&cli.StringFlag{Name: "tls-key-path", Usage: "its key `FILE`"},
		},
		Action: run(a, parseCodec, runCodec),
	}
}

type codecPlan struct {
	keyset    *encryption.Keyset
	handler   encryption.HandlerOptions
	port      int
	cert, key string // files; empty means plain HTTP
}

func parseCodec(c *cli.Context) (plan codecPlan, err error) {
	plan = codecPlan{
		handler: encryption.HandlerOptions{IP: commandline.IP(c, "ip"), Namespaces: []string{c.String("namespace")}, Origins: c.StringSlice("origin")},
		port:    c.Int("port"), cert: c.String("tls-cert-path"), key: c.String("tls-key-path"),
	}
	if plan.keyset, err = connect.ParseKeyset(c); err != nil {
		return plan, err
	}
	if plan.keyset == nil {
		return plan, commandline.Errorf(c, "codec needs --encryption-keyset")
	}
	if (plan.cert == "") != (plan.key == "") {
		return plan, commandline.Errorf(c, "--tls-cert-path and --tls-key-path need each other")
	}
	if !devserver.IsLoopback(plan.handler.IP) && plan.cert == "" {
		return plan, commandline.Errorf(c, "--ip is %s: beyond this machine a codec server needs --tls-cert-path and --tls-key-path", plan.handler.IP)
	}
	for _, origin := range plan.handler.Origins {
		if u, err := url.Parse(origin); err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" {
			return plan, commandline.Errorf(c, "--origin is %q: use http://HOST:PORT, without a path", origin)
		}
	}
	if len(plan.handler.Origins) == 0 {
		plan.handler.Origins = []string{"http://127.0.0.1:8233"}
	}
	plan.handler.Origins = origins(plan.handler.Origins...)
	return plan, nil
}

// origins returns those of the pages at some URLs. A page on this machine has one for each
// name of the machine.
func origins(pages ...string) (all []string) {
	for _, page := range pages {
		u, err := url.Parse(page)
		if err != nil {
			continue
		}
		hosts := []string{u.Host}
		if u.Hostname() == "localhost" || devserver.IsLoopback(u.Hostname()) {
			for _, name := range []string{"localhost", "127.0.0.1", "[::1]"} {
				hosts = append(hosts, strings.TrimSuffix(name+":"+u.Port(), ":"))
			}
		}
		for _, host := range hosts {
			all = append(all, u.Scheme+"://"+host)
		}
	}
	return all
}

func runCodec(ctx context.Context, a *app.App, plan codecPlan) error {
	var config *tls.Config
	if plan.cert != "" {
		pair, err := renewed.KeyPair(plan.cert, plan.key)
		if err != nil {
			return fmt.Errorf("cannot use the certificate: %w", err)
		}
		config = &tls.Config{GetCertificate: renewed.ServerCertificate(pair), NextProtos: []string{"h2", "http/1.1"}}
	}
	listener, err := local.ListenHTTP("codec server", plan.handler.IP, plan.port, "--port")
	if err != nil {
		return err
	}
	a.Out.OutliveReaders()
	var tasks background.Tasks
	a.Out.Printf("Codec server %s://%s\n", background.Scheme(config), listener.Addr())
	tasks.Serve("codec server", background.WithTLS(listener, config), httpserver.New(plan.keyset.Handler(plan.handler)))
	tasks.Wait(ctx)
	return tasks.Stop()
}

// codecIP is where the codec server of a server listens, whatever its Web UI does:
// whoever reaches it can decrypt. Beyond this machine there is coffee codec.
const codecIP = "127.0.0.1"

// codecBeside opens the port of the codec server that a server's flags ask for, and tells its Web
// UI. The listener is nil if no codec server is to start.
func codecBeside(tasks *background.Tasks, plan serverPlan, options *devserver.Options) (net.Listener, error) {
	if plan.keyset == nil || !options.UI || options.CodecEndpoint != "" {
		return nil, nil
	}
	listener, err := local.ListenHTTP("codec server", codecIP, plan.codecPort, "--codec-port")
	if err != nil {
		return nil, err
	}
	tasks.OnStop(func() error { _ = listener.Close(); return nil }) // if nothing was served on it
	options.CodecEndpoint = "http://" + listener.Addr().String()
	return listener, nil
}
