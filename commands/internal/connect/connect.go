// Package connect reaches a Temporal server: flags and profiles, names, TLS, and what is wrong if it does not answer.
package connect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"google.golang.org/grpc"

	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/dial"
	"example.com/coffee/coffee/encryption"
	"example.com/coffee/coffee/rollout"
	"example.com/coffee/coffee/telemetry"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/sleep"
)

// Flags say how to reach a Temporal server. A flag takes precedence over its
// environment variable, which takes precedence over the file.
func Flags() []cli.Flag {
	const category = "CONNECTION (flags override TEMPORAL_* variables, which override temporal.toml)"
	text := func(name, usage, defaultText string, aliases ...string) cli.Flag {
		return &cli.StringFlag{Name: name, Usage: usage, DefaultText: defaultText, Aliases: aliases, Category: category}
	}
	return []cli.Flag{
		text("address", "`HOST:PORT` of the Temporal server, or of several frontends with commas in between", client.DefaultHostPort),
		text("namespace", "`NAME` of the namespace, a set of orders apart from others on the server", client.DefaultNamespace, "n"),
		text("api-key", "`KEY` of a server that asks for one, such as Temporal Cloud", ""),
		&cli.BoolFlag{Name: "tls", Usage: "use TLS (the default with a certificate or an API key)", Category: category},
		text("tls-cert-path", "client certificate `FILE`", ""),
		text("tls-cert-data", "client certificate as `PEM`", ""),
		text("tls-key-path", "client key `FILE`", ""),
		text("tls-key-data", "client key as `PEM`", ""),
		text("tls-ca-path", "server CA certificate `FILE`", ""),
		text("tls-ca-data", "server CA certificate as `PEM`", ""),
		text("tls-server-name", "`NAME` to expect in the server's certificate, if it is not that in --address", ""),
		&cli.BoolFlag{Name: "tls-disable-host-verification", Usage: "do not verify the server's certificate", Category: category},
		text("profile", "`NAME` of a profile in the configuration file", ""),
		text("config-file", "`FILE` to read profiles from", "the Temporal CLI's temporal.toml"),
		KeysetFlag(category),
	}
}

// Options say which server to connect to.
type Options struct {
	client.Options
	from sources
	// Keyset encrypts what is sent; nil means that it is sent as it is.
	Keyset *encryption.Keyset
	tls    clientTLS
	// frontends look the server's names up.
	frontends *frontends
	// Reading is what becomes of that which a worker reads.
	Reading encryption.Options
	// SkipTime skips the time of the orders that the client places.
	SkipTime bool
	// Polls, unless nil, watch the polls of a worker.
	Polls *telemetry.Polls
}

// Parse turns flags, environment and file into client options.
func Parse(c *cli.Context) (options Options, err error) {
	profile, err := loadProfile(c)
	if err != nil {
		return options, err
	}
	if profile.TLS != nil {
		NoteExposed(c.App.ErrWriter, "client's key", profile.TLS.ClientKeyPath)
	}
	if err := checkProfile(c, profile); err != nil {
		return options, err
	}
	if options.Options, err = profile.ToClientOptions(envconfig.ToClientOptionsRequest{}); err != nil {
		return options, fmt.Errorf("configuration: %w", err)
	}
	if profile.Address != client.DefaultHostPort { // or a flag would change it
		options.from.address = given(c, "TEMPORAL_ADDRESS")
	}
	if profile.Namespace != client.DefaultNamespace {
		options.from.namespace = given(c, "TEMPORAL_NAMESPACE")
	}
	options.SkipTime = c.Bool(skipTime)
	if options.tls, err = newClientTLS(profile.TLS, options.ConnectionOptions.TLS); err != nil {
		return options, fmt.Errorf("configuration: %w", err)
	}
	if err := renewKey(c, profile.APIKey, &options.Options); err != nil {
		return options, err
	}
	options.Keyset, err = ParseKeyset(c)
	return options, err
}

// Connection is a client that has reached its server, unless it was made by
// [OpenLater]. It decrypts what it reads.
type Connection struct {
	client.Client
	At        Endpoint
	Namespace string
	Guard     *encryption.Guard // of its worker; nil without one
}

func newConnection(c client.Client, at Endpoint, options Options) *Connection {
	return &Connection{options.Keyset.Client(c, options.Reading), at, options.Namespace, options.Reading.Guard}
}

// sources name what sets the address and the namespace of a server. The zero value stands
// for the flags.
type sources struct{ address, namespace string }

// Endpoint is a server as the user names it.
type Endpoint struct {
	Address string
	from    sources
}

// At returns the server, before [resolveNames] makes its address one for gRPC.
func (o *Options) At() Endpoint { return Endpoint{o.HostPort, o.from} }

// Orders returns the typed client on the connection.
func (c *Connection) Orders() *desk.Client { return desk.NewClient(c.Client, c.Namespace) }

// Versions returns the typed client for the versions of the workers.
func (c *Connection) Versions() *rollout.Client { return rollout.New(c.Orders()) }

// assemble adds the options that all clients of this program share, and what a request passes on
// its way. The interceptors of the SDK come first, with spans, then those of gRPC:
//
//   - Reconnect holds a long poll back while there is no connection. What is further in sees
//     only what is sent.
//   - Guarded completes the headers, and tells an answer of the server from an error of the
//     connection: it must see what all others return.
//   - The caller's options, which may inject faults, are as far out as what they are to test
//     allows.
//   - Polls count what is really asked of the server.
//   - SkipTime marks what is asked.
//   - The options of a server in this process are last, because they take the request there.
func assemble(a *app.App, options *Options) error {
	at := options.At()
	if OnThisMachine(at.Address) {
		options.ConnectionOptions.GrpcCompression = &client.GrpcCompressionNone{} // it would only cost time
	}
	resolveNames(options)
	options.Logger = a.SdkLog()
	options.WorkerHeartbeatInterval = desk.HeartbeatInterval
	options.Reading.Namespace = options.Namespace
	options.Keyset.Configure(&options.Options, options.Reading)
	var err error
	if options.Interceptors, err = a.Tracing.Interceptors(); err != nil {
		return err
	}
	dialOptions := slices.Concat(dial.Reconnect(a.Log, options.why(at)), []grpc.DialOption{dial.Guarded()}, options.tls.dialOptions(), a.Options.Dial)
	if options.Polls != nil {
		dialOptions = append(dialOptions, options.Polls.DialOption())
	}
	if options.SkipTime {
		dialOptions = append(dialOptions, devserver.SkipTime())
	}
	options.ConnectionOptions.DialOptions = append(dialOptions, options.ConnectionOptions.DialOptions...)
	return nil
}

// Open connects to a server, and checks that it has the namespace: otherwise a wrong one
// would show up late, and differently in each command. Any other error surfaces in the
// command itself, whose requests the SDK retries. A client that skips time needs a server that
// allows it.
func Open(ctx context.Context, a *app.App, options Options) (*Connection, error) {
	conn, err := openUnless(ctx, a, options, isNoNamespace)
	if err == nil && options.SkipTime {
		if err = conn.Orders().CheckTimeSkipping(ctx); err != nil {
			conn.Close()
		}
	}
	return conn, err
}

// OpenReady connects to a server that is ready. One can answer while its own database
// does not.
func OpenReady(ctx context.Context, a *app.App, options Options) (*Connection, error) {
	return openUnless(ctx, a, options, func(err error) bool { return isNoNamespace(err) || NoAnswer(err) })
}

// openUnless connects to a server, unless its answer about the namespace is bad.
func openUnless(ctx context.Context, a *app.App, options Options, bad func(error) bool) (*Connection, error) {
	conn, err := dialServer(ctx, a, options)
	if err != nil {
		return nil, err
	}
	_, err = conn.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: conn.Namespace})
	if bad(err) {
		conn.Close()
		return nil, ServerProblem(err, conn.At)
	}
	return conn, nil
}

// dialServer connects to a server.
func dialServer(ctx context.Context, a *app.App, options Options) (*Connection, error) {
	at := options.At()
	if err := assemble(a, &options); err != nil {
		return nil, err
	}
	c, err := client.DialContext(ctx, options.Options)
	if err != nil {
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			return nil, ctx.Err()
		case NoAnswer(err) || ctx.Err() != nil:
			return nil, options.why(at)(ctx, err)
		}
		return nil, fmt.Errorf("cannot connect to %s: %w", at.Address, err) // the API key is not in it
	}
	return newConnection(c, at, options), nil
}

// why returns a function that explains an error of a connection to a server, if the server
// does not answer.
func (o *Options) why(at Endpoint) func(context.Context, error) error {
	return func(ctx context.Context, err error) error {
		problem := o.frontends.lookedUp()
		if problem == nil {
			var used bool
			if used, problem = askProxy(ctx, at.Address, http.ProxyFromEnvironment); !used {
				problem = askTLS(ctx, at.Address, o.tls.config(o.ConnectionOptions.TLS))
			}
		}
		return ServerProblem(errors.Join(err, problem), at)
	}
}

// Patience is the timeout of one attempt to reach a server that may be starting.
const Patience = 5 * time.Second

// OpenWhenUp connects to a server, and waits for one that is not ready yet.
func OpenWhenUp(ctx context.Context, a *app.App, options Options) (conn *Connection, err error) {
	err = WhenUp(ctx, a, "waiting for the server", IsAway, func() (err error) {
		attempt, cancel := context.WithTimeout(ctx, Patience)
		defer cancel()
		conn, err = OpenReady(attempt, a, options)
		return err
	})
	return conn, err
}

// IsAway reports whether an error says that no server answers.
func IsAway(err error) bool {
	_, away := errors.AsType[*awayError](err)
	return away
}

// WhenUp calls do again, once a second, while its error is one that passes. The log says
// what it waits for, once for each reason. Any other error is returned.
func WhenUp(ctx context.Context, a *app.App, waiting string, passes func(error) bool, do func() error) error {
	told := map[string]bool{}
	for {
		err := do()
		if err == nil || !passes(err) || ctx.Err() != nil {
			return err
		}
		if !told[err.Error()] {
			told[err.Error()] = true
			a.Log.Warn().Err(err).Msg(waiting)
		}
		if !sleep.For(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

// OpenLater returns a connection to a server that need not be running yet.
func OpenLater(a *app.App, options Options) (*Connection, error) {
	at := options.At()
	if err := assemble(a, &options); err != nil {
		return nil, err
	}
	c, err := client.NewLazyClient(options.Options)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return newConnection(c, at, options), nil
}

// SkipTimeFlag is the flag --skip-time of the commands that place orders.
func SkipTimeFlag() cli.Flag {
	return &cli.BoolFlag{Name: skipTime, Usage: "let backoffs pass at once, on a server that allows it (coffee server --time-skipping)"}
}

const skipTime = "skip-time"

// WithOrders connects to a server, and calls do with a client for its orders.
func WithOrders(ctx context.Context, a *app.App, options Options, do func(*desk.Client) error) error {
	conn, err := Open(ctx, a, options)
	if err != nil {
		return err
	}
	defer conn.Close()
	return do(conn.Orders())
}
