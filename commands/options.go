package commands

import (
	"context"
	"crypto/tls"
	"io"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee/audit"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/connect"
	"example.com/coffee/commands/internal/findings"
	"example.com/coffee/commands/internal/ledgers"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/exit"
)

// Options are what a program that runs these commands gives them besides its command line.
// The zero value is the program coffee.
type Options = app.Options

// ConnectFlags returns the flags that say how to reach a Temporal server, for [Connect].
func ConnectFlags() []cli.Flag { return connect.Flags() }

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
func Connect(c *cli.Context, stderr io.Writer, options app.Options) (*Server, error) {
	a := app.New(io.Discard, stderr, options)
	if err := a.ConfigureLogs("", "text"); err != nil {
		return nil, err
	}
	server, conn, ledger, err := connectForOthers(c.Context, a, c)
	if err != nil {
		code, hint := terminal.Explain(err)
		return nil, &exit.Error{Code: code, Err: err, Hint: hint}
	}
	return &Server{conn.Client, conn.At.Address, conn.Namespace, server.ConnectionOptions.TLS, ledger}, nil
}

func connectForOthers(ctx context.Context, a *app.App, c *cli.Context) (server connect.Options, conn *connect.Connection, ledger string, err error) {
	choice, err := ledgers.Parse(c)
	if err == nil {
		server, err = connect.Parse(c)
	}
	if err == nil {
		conn, err = connect.Open(ctx, a, server)
	}
	if err != nil {
		return server, nil, "", err
	}
	if ledger, err = ledgers.Path(ctx, a, choice, conn); err != nil {
		conn.Close()
	}
	return server, conn, ledger, err
}

// PrintAudit prints the report of an audit as coffee audit does.
func PrintAudit(w io.Writer, report *audit.Report) {
	findings.PrintAudit(&terminal.Output{Out: &terminal.CheckedWriter{W: w}}, report)
}
