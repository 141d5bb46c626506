package commands

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
	"github.com/urfave/cli/v3"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"

	"example.com/coffee/devserver"
)

// connectFlags say how to reach a Temporal server. Each wins over the
// environment variable of the same meaning, which wins over the file.
func connectFlags() []cli.Flag {
	const category = "CONNECTION (flag over TEMPORAL_* variable over temporal.toml)"
	text := func(name, usage string, aliases ...string) cli.Flag {
		return &cli.StringFlag{Name: name, Usage: usage, Aliases: aliases, Category: category}
	}
	return []cli.Flag{
		text("address", "`HOST:PORT` of the Temporal server (default: "+client.DefaultHostPort+")"),
		text("namespace", "`NAME` of the Temporal namespace (default: "+client.DefaultNamespace+")", "n"),
		text("api-key", "`KEY` for the server"),
		&cli.BoolFlag{Name: "tls", Usage: "use TLS (the default when there is a certificate or an API key)", Category: category},
		text("tls-cert-path", "client certificate `FILE`"),
		text("tls-cert-data", "client certificate as `PEM`"),
		text("tls-key-path", "client key `FILE`"),
		text("tls-key-data", "client key as `PEM`"),
		text("tls-ca-path", "server CA certificate `FILE`"),
		text("tls-ca-data", "server CA certificate as `PEM`"),
		text("tls-server-name", "`NAME` that the server's certificate is for"),
		&cli.BoolFlag{Name: "tls-disable-host-verification", Usage: "do not check whose certificate it is", Category: category},
		text("profile", "`NAME` of a profile in the configuration file"),
		text("config-file", "`FILE` to read profiles from (default: temporal.toml where the Temporal CLI has it)"),
	}
}

// connectProfile joins file, environment and flags.
func connectProfile(cmd *cli.Command) (envconfig.ClientConfigProfile, error) {
	profile, err := envconfig.LoadClientConfigProfile(envconfig.LoadClientConfigProfileOptions{
		ConfigFilePath:    cmd.String("config-file"),
		ConfigFileProfile: cmd.String("profile"),
	})
	if err != nil {
		return profile, fmt.Errorf("configuration: %w", err)
	}
	set := func(flag string, to *string) {
		if cmd.IsSet(flag) {
			*to = cmd.String(flag)
		}
	}
	set("address", &profile.Address)
	set("namespace", &profile.Namespace)
	set("api-key", &profile.APIKey)
	tls := envconfig.ClientConfigTLS{}
	if profile.TLS != nil {
		tls = *profile.TLS
	}
	setTLS := func(flag string, to *string) {
		if cmd.IsSet(flag) {
			*to = cmd.String(flag)
			profile.TLS = &tls
		}
	}
	// Of a path and the data itself, the one that the flag gives counts.
	setPair := func(pathFlag string, path *string, dataFlag string, data *[]byte) {
		setTLS(pathFlag, path)
		if cmd.IsSet(pathFlag) {
			*data = nil
		}
		if cmd.IsSet(dataFlag) {
			*data = []byte(cmd.String(dataFlag))
			profile.TLS = &tls
			if !cmd.IsSet(pathFlag) {
				*path = ""
			}
		}
	}
	setPair("tls-cert-path", &tls.ClientCertPath, "tls-cert-data", &tls.ClientCertData)
	setPair("tls-key-path", &tls.ClientKeyPath, "tls-key-data", &tls.ClientKeyData)
	setPair("tls-ca-path", &tls.ServerCACertPath, "tls-ca-data", &tls.ServerCACertData)
	setTLS("tls-server-name", &tls.ServerName)
	if cmd.IsSet("tls-disable-host-verification") {
		tls.DisableHostVerification = cmd.Bool("tls-disable-host-verification")
		profile.TLS = &tls
	}
	if cmd.IsSet("tls") {
		tls.Disabled = !cmd.Bool("tls")
		profile.TLS = &tls
	}
	if profile.Address == "" {
		profile.Address = client.DefaultHostPort
	}
	if profile.Namespace == "" {
		profile.Namespace = client.DefaultNamespace
	}
	return profile, nil
}

// connection is a client that has reached its server.
type connection struct {
	client.Client
	address   string
	namespace string
	log       zerolog.Logger
}

// connect dials the server that the flags, the environment and the file name.
func (o *output) connect(ctx context.Context, cmd *cli.Command) (*connection, error) {
	profile, err := connectProfile(cmd)
	if err != nil {
		return nil, err
	}
	options, err := profile.ToClientOptions(envconfig.ToClientOptionsRequest{})
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return o.dial(ctx, options)
}

// completeOptions adds what every client of this program has.
func (o *output) completeOptions(options *client.Options) error {
	host, _, err := net.SplitHostPort(options.HostPort)
	if err != nil {
		return &usageError{message: fmt.Sprintf("--address is %q: use HOST:PORT", options.HostPort)}
	}
	if host == "localhost" || devserver.IsLoopback(host) {
		options.ConnectionOptions.GrpcCompression = &client.GrpcCompressionNone{} // it would only cost time
	}
	options.Logger = o.sdkLog()
	options.ConnectionOptions.DialOptions = append(options.ConnectionOptions.DialOptions, o.dialOptions...)
	return nil
}

func (o *output) dial(ctx context.Context, options client.Options) (*connection, error) {
	if err := o.completeOptions(&options); err != nil {
		return nil, err
	}
	c, err := client.DialContext(ctx, options)
	if err != nil {
		return nil, explainDial(ctx, err, options)
	}
	conn := &connection{Client: c, address: options.HostPort, namespace: options.Namespace, log: o.log}
	// Without this a wrong namespace would show up late, and differently in
	// each command.
	_, err = c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: options.Namespace})
	var notFound *serviceerror.NamespaceNotFound
	if errors.As(err, &notFound) {
		c.Close()
		return nil, &hintedError{
			fmt.Errorf("there is no namespace %q on %s", options.Namespace, options.HostPort),
			"check --namespace; a server started with coffee server --namespace NAME has it",
		}
	}
	return conn, nil // any other error is for the command itself to meet
}

// explainDial turns the failure to reach a server into something to act upon.
// The API key is in none of these messages.
func explainDial(ctx context.Context, err error, options client.Options) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if noAnswer(err) {
		hint := "start one with: coffee server"
		if options.HostPort != client.DefaultHostPort {
			hint = "check --address and --tls, or start a server here with: coffee server"
		}
		return &hintedError{fmt.Errorf("no Temporal server answers at %s", options.HostPort), hint}
	}
	return fmt.Errorf("cannot connect to %s: %w", options.HostPort, err)
}

// noAnswer tells whether an error means that nobody answers at an address.
func noAnswer(err error) bool {
	var unavailable *serviceerror.Unavailable
	var late *serviceerror.DeadlineExceeded
	return errors.As(err, &unavailable) || errors.As(err, &late) || errors.Is(err, context.DeadlineExceeded)
}

// explainServer says in one line what is the matter with a server.
func explainServer(err error, address string) string {
	var notFound *serviceerror.NamespaceNotFound
	switch {
	case noAnswer(err):
		return "No Temporal server answers at " + address + ". Start one with: coffee server"
	case errors.As(err, &notFound):
		return fmt.Sprintf("There is no namespace %q on %s.", notFound.Namespace, address)
	}
	return err.Error()
}

// ledgerPath is where the ledger of a server is by default: a file of its own
// for each server and namespace, so that orders of one are not taken for
// orders of another.
func (c *connection) ledgerPath(ctx context.Context) (string, error) {
	dir, err := dataDir(c.log)
	if err != nil {
		return "", err
	}
	id := c.address
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// A server that does not tell its id is known by its address.
	if info, err := c.WorkflowService().GetClusterInfo(ctx, &workflowservice.GetClusterInfoRequest{}); err == nil && info.GetClusterId() != "" {
		id = info.GetClusterId()
	}
	return filepath.Join(dir, fmt.Sprintf("ledger-%s-%s.db", url.PathEscape(id), url.PathEscape(c.namespace))), nil
}
