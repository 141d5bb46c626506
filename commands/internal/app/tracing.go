package app

import (
	"context"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"

	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/telemetry"
	"example.com/coffee/commands/internal/process"
)

// StartTracing begins to send traces, if the environment names a collector. The environment
// may be meant for other programs: whatever is wrong with it is a warning, and no more.
func (a *App) StartTracing(ctx context.Context) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		a.Log.Warn().Err(err).Msg("traces cannot be sent, or lack something: see the variables OTEL_*")
	}))
	var err error
	if a.Tracing, err = telemetry.NewTracing(ctx, process.Version()); err != nil {
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
	options := slices.Clone(a.Options.Ledger)
	if a.Tracing != nil {
		options = append(options, ledger.Traced(a.Tracing))
	}
	return options
}
