package commands

import (
	"fmt"
	"io"
	"os"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/log"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/telemetry"
)

// app is what every command works with. It opens what else a command needs: a
// connection (connect.go), a ledger (ledger.go), a worker (worker.go), a server
// (server.go), or all of them in this process (dev.go).
type app struct {
	out *output

	// log is for the application's own messages, platform for those of the
	// Temporal server and SDK. Both are set before a command runs.
	log      zerolog.Logger
	platform zerolog.Logger

	// tracing sends traces; nil if it does not.
	tracing *telemetry.Tracing

	// injected are the faults that this process injects into itself in a chaos run.
	injected struct {
		storage   uint64 // the seed of those of the server's database; 0 means none
		ledger    []ledger.Option
		noRefunds bool
	}

	// sabotage, unless nil, lets tests give a worker a defect.
	sabotage func(options *coffee.WorkerOptions, ledger *coffee.Ledger)

	// dialOptions let tests watch and break the connection to the Temporal
	// server.
	dialOptions []grpc.DialOption
}

func newApp(stdout, stderr io.Writer) *app {
	return &app{out: &output{out: &checkedWriter{w: stdout}, err: stderr}}
}

// configureLogs sets up the loggers. The default level is info for the
// application's own messages, and warn for the platform's.
func (a *app) configureLogs(level, format string) error {
	ours, platform := zerolog.InfoLevel, zerolog.WarnLevel
	switch level {
	case "":
	case "never":
		ours, platform = zerolog.Disabled, zerolog.Disabled
	case "debug", "info", "warn", "error":
		parsed, err := zerolog.ParseLevel(level)
		if err != nil {
			return err
		}
		ours, platform = parsed, parsed
	default:
		return &usageError{message: fmt.Sprintf("--log-level is %q: use debug, info, warn, error, never", level)}
	}
	stderr := a.out.err
	var w io.Writer
	switch {
	case format == "text" || format == "" && isTerminal(stderr):
		w = zerolog.ConsoleWriter{
			Out:         stderr,
			NoColor:     !isTerminal(stderr) || os.Getenv("NO_COLOR") != "",
			TimeFormat:  "15:04:05",
			FieldsOrder: []string{"order_id"},
			// ConsoleWriter quotes field values that need it, but not the message.
			FormatMessage: func(message any) string {
				if message == nil {
					return ""
				}
				return coffee.Printable(fmt.Sprint(message))
			},
		}
	case format == "json" || format == "":
		w = invisibleEscaper{stderr}
	default:
		return &usageError{message: fmt.Sprintf("--log-format is %q: use text, json", format)}
	}
	base := zerolog.New(zerolog.SyncWriter(w)).With().Timestamp().Logger()
	a.log, a.platform = base.Level(ours), base.Level(platform)
	return nil
}

// sdkLog is the logger for a Temporal client.
func (a *app) sdkLog() log.Logger { return coffee.NewSDKLogger(a.platform) }
