package commands

import (
	"context"
	"crypto/tls"
	"io"

	"github.com/urfave/cli/v2"
	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee/audit"
	"example.com/coffee/internal/exit"
)

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
	server, conn, where, err := connectForOthers(c.Context, a, c)
	if err != nil {
		code, hint := explain(err)
		return nil, &exit.Error{Code: code, Err: err, Hint: hint}
	}
	return &Server{conn.Client, conn.at.address, conn.namespace, server.ConnectionOptions.TLS, where}, nil
}

func connectForOthers(ctx context.Context, a *app, c *cli.Context) (server connectOptions, conn *connection, where string, err error) {
	if server, err = parseConnect(c); err != nil {
		return server, nil, "", err
	}
	choice, err := parseLedger(c)
	if err != nil {
		return server, nil, "", err
	}
	if conn, err = connect(ctx, a, server); err != nil {
		return server, nil, "", err
	}
	if where, err = ledgerPath(ctx, a, choice, conn); err != nil {
		conn.Close()
	}
	return server, conn, where, err
}

// PrintAudit prints the report of an audit as coffee audit does.
func PrintAudit(w io.Writer, report *audit.Report) {
	printAudit(&output{out: &checkedWriter{w: w}}, report)
}
