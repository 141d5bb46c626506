package commands

import (
	"context"
	"crypto/tls"
	"io"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/replay"
	"example.com/coffee/devserver"
	"example.com/coffee/internal/exit"
)

// Options are what a program that runs these commands gives them besides its command line.
// The zero value is the program coffee.
type Options struct {
	// Release, unless nil, is the workflow that workers run, and that orders are replayed
	// on, in place of this program's.
	Release Release
	// Dial are further options of each connection to a Temporal server.
	Dial []grpc.DialOption
	// Ledger are further options of each ledger that is opened for a worker.
	Ledger []ledger.Option
	// Worker, unless nil, changes what a worker is made of, its ledger included.
	Worker func(*coffee.WorkerOptions)
	// Server, unless nil, changes what a server is made of.
	Server func(*devserver.Options)
}

// Release is a release of the workflow, with the activities that only it has.
type Release interface {
	Register(worker.Registry)
	// Replay replays a history, like [replay.Check].
	Replay(desk.History) error
}

// replay returns what replays a history on the workflow that workers of this program run.
func (a *app) replay() func(desk.History) error {
	if a.options.Release != nil {
		return a.options.Release.Replay
	}
	current := (&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).OrderCoffeeWorkflow
	return func(history desk.History) error { return replay.Check(current, history) }
}

// ConnectFlags returns the flags that say how to reach a Temporal server, for [Connect].
func ConnectFlags() []cli.Flag { return connectFlags() }

// Server is a Temporal server that [Connect] has reached.
type Server struct {
	client.Client // which decrypts what it reads
	Address       string
	Namespace     string
	TLS           *tls.Config // nil without TLS
	Ledger        string      // the file or the URL of its orders' ledger, which need not exist
}

// Connect connects as the commands do to the server that the flags, the environment and the
// configuration file name. Warnings go to stderr. The error is an [*exit.Error], as a
// command would end with.
func Connect(c *cli.Context, stderr io.Writer, options Options) (*Server, error) {
	a := newApp(io.Discard, stderr, options)
	if err := a.configureLogs("", "text"); err != nil {
		return nil, err
	}
	server, conn, where, err := a.connectForOthers(c.Context, c)
	if err != nil {
		code, hint := explain(err)
		return nil, &exit.Error{Code: code, Err: err, Hint: hint}
	}
	return &Server{conn.Client, conn.address, conn.namespace, server.ConnectionOptions.TLS, where}, nil
}

func (a *app) connectForOthers(ctx context.Context, c *cli.Context) (server connectOptions, conn *connection, where string, err error) {
	if server, err = parseConnect(c); err != nil {
		return server, nil, "", err
	}
	choice, err := parseLedger(c)
	if err != nil {
		return server, nil, "", err
	}
	if conn, err = a.connect(ctx, server); err != nil {
		return server, nil, "", err
	}
	if where, err = a.ledgerPath(ctx, choice, conn); err != nil {
		conn.Close()
	}
	return server, conn, where, err
}

// PrintAudit prints the report of an audit as coffee audit does.
func PrintAudit(w io.Writer, report *audit.Report) {
	printAudit(&output{out: &checkedWriter{w: w}}, report)
}
