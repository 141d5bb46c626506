// Package app has what every command works with: output, logs, traces, and what the caller gives it.
package app

import (
	"cmp"
	"context"
	"fmt"
	"io"
	stdlog "log"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/stdr"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"google.golang.org/grpc"
	"google.golang.org/grpc/grpclog"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/dial"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/replay"
	"example.com/coffee/coffee/telemetry"
	"example.com/coffee/commands/internal/terminal"
	"example.com/coffee/devserver"
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
		ours, _ = zerolog.ParseLevel(level) // which knows them
		platform = ours
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

// Replay returns what replays a history on the workflow that workers of this program run.
func (a *App) Replay() func(desk.History) error {
	if a.Options.Release != nil {
		return a.Options.Release.Replay
	}
	current := (&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).OrderCoffeeWorkflow
	return func(history desk.History) error { return replay.Check(current, history) }
}

// StartTracing begins to send traces, if the environment names a collector. The environment
// may be meant for other programs: whatever is wrong with it is a warning, and no more.
func (a *App) StartTracing(ctx context.Context) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		a.Log.Warn().Err(err).Msg("traces cannot be sent, or lack something: see the variables OTEL_*")
	}))
	var err error
	if a.Tracing, err = telemetry.NewTracing(ctx, Version()); err != nil {
		otel.Handle(err)
	}
	if a.Tracing != nil {
		a.Log = a.Log.Hook(zerolog.HookFunc(telemetry.LogHook))
	}
}

// flushTime bounds how long a command waits for a collector before it ends.
const flushTime = 2 * time.Second

// StopTracing sends what is left.
func (a *App) StopTracing() {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	if err := a.Tracing.Close(ctx); err != nil {
		a.Log.Warn().Err(err).Msg("traces cannot be sent")
	}
}

// LedgerOptions are the options of all ledgers that this program writes to.
func (a *App) LedgerOptions() []ledger.Option {
	if a.Tracing == nil {
		return a.Options.Ledger
	}
	return append(slices.Clip(a.Options.Ledger), ledger.Traced(a.Tracing))
}

// Version returns the version of the module, or of the source if the program was
// built from a checkout, and that of the Temporal server.
func Version() string {
	v := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	return fmt.Sprintf("%s (Temporal server %s)", v, cmp.Or(devserver.ServerVersion, "not built in"))
}
