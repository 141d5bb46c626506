// Package app has what every command works with: output, logs, traces, and what the caller gives it.
package app

import (
	"fmt"
	"io"
	stdlog "log"
	"os"
	"strings"
	"time"

	"github.com/go-logr/stdr"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.temporal.io/sdk/log"
	"google.golang.org/grpc/grpclog"

	"example.com/coffee/coffee/dial"
	"example.com/coffee/coffee/telemetry"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/text"
)

// App is what every command works with. What else one needs it opens with packages
// connect (a connection), ledgers (a ledger) and local (a worker, a server, or all of them
// in this process).
type App struct {
	Out *terminal.Output

	// Log is for the application's own messages, Platform for those of the
	// Temporal server and SDK. Both are set before a command runs.
	Log      zerolog.Logger
	Platform zerolog.Logger

	// Tracing sends traces; nil if it does not.
	Tracing *telemetry.Tracing

	// Options are the caller's.
	Options Options
}

// New returns an app that prints to stdout and stderr.
func New(stdout, stderr io.Writer, options Options) *App {
	return &App{Out: &terminal.Output{Out: &terminal.CheckedWriter{W: stdout}, Err: stderr}, Options: options}
}

// ConfigureLogs sets up the loggers. The default level is info for the
// application's own messages, and warn for the platform's.
func (a *App) ConfigureLogs(level, format string) error {
	ours, platform := zerolog.InfoLevel, zerolog.WarnLevel
	switch level {
	case "":
	case "never", "none":
		ours, platform = zerolog.Disabled, zerolog.Disabled
	case "debug", "info", "warn", "error":
		parsed, err := zerolog.ParseLevel(level)
		if err != nil {
			return err
		}
		ours, platform = parsed, parsed
	default:
		return exit.Usagef("", "--log-level is %q: use debug, info, warn, error, never", level)
	}
	stderr := a.Out.Err
	var w io.Writer
	switch {
	case format == "text" || format == "pretty" || format == "" && terminal.IsTerminal(stderr):
		w = zerolog.ConsoleWriter{
			Out:         stderr,
			NoColor:     !terminal.IsTerminal(stderr) || os.Getenv("NO_COLOR") != "",
			TimeFormat:  "15:04:05.000",
			FieldsOrder: []string{"order_id"},
			// ConsoleWriter quotes field values that need it, but not the message.
			FormatMessage: func(message any) string {
				if message == nil {
					return ""
				}
				return text.Printable(fmt.Sprint(message))
			},
		}
	case format == "json" || format == "":
		w = terminal.InvisibleEscaper{W: stderr}
	default:
		return exit.Usagef("", "--log-format is %q: use text, json", format)
	}
	base := zerolog.New(zerolog.SyncWriter(w)).Hook(zerolog.HookFunc(stamp))
	a.Log, a.Platform = base.Level(ours), base.Level(platform)
	return nil
}

// stamp adds the time to a message. Milliseconds put the lines of several processes in order.
func stamp(event *zerolog.Event, _ zerolog.Level, _ string) {
	event.Str(zerolog.TimestampFieldName, time.Now().Format("2006-01-02T15:04:05.000Z07:00"))
}

// AdoptLoggers makes the libraries that log to the process's own loggers log as the platform
// does: Go's HTTP servers, gRPC and its gateway, and OpenTelemetry.
func (a *App) AdoptLoggers() {
	stdlog.SetFlags(0)
	stdlog.SetOutput(warnings{a.Platform})
	otel.SetLogger(stdr.New(stdlog.Default()))
	grpclog.SetLoggerV2(grpcLog{grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard), a.Platform})
}

// warnings logs lines as warnings: they say nothing about their level.
type warnings struct{ log zerolog.Logger }

// Write implements [io.Writer].
func (w warnings) Write(line []byte) (int, error) {
	w.log.Warn().Msg(strings.TrimSpace(string(line)))
	return len(line), nil
}

// grpcLog logs gRPC's errors. Its other messages are for those who work on gRPC.
type grpcLog struct {
	grpclog.LoggerV2
	log zerolog.Logger
}

func (l grpcLog) Error(args ...any)                 { l.log.Warn().Msg(fmt.Sprint(args...)) }
func (l grpcLog) Errorln(args ...any)               { l.log.Warn().Msg(fmt.Sprint(args...)) }
func (l grpcLog) Errorf(format string, args ...any) { l.log.Warn().Msgf(format, args...) }

// SdkLog is the logger for a Temporal client.
func (a *App) SdkLog() log.Logger { return dial.NewLogger(a.Platform) }
