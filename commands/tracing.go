package commands

import (
	"context"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"

	"example.com/coffee/coffee/ledger"
	"example.com/coffee/coffee/telemetry"
)

// startTracing begins to send traces, if the environment names a collector. The environment
// may be meant for other programs: whatever is wrong with it is a warning, and no more.
func (a *app) startTracing(ctx context.Context) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		a.log.Warn().Err(err).Msg("traces cannot be sent, or lack something: see the variables OTEL_*")
	}))
	var err error
	if a.tracing, err = telemetry.NewTracing(ctx, version()); err != nil {
		otel.Handle(err)
	}
	if a.tracing != nil {
		a.log = a.log.Hook(zerolog.HookFunc(telemetry.LogHook))
	}
}

// flushTime bounds how long a command waits for a collector before it ends.
const flushTime = 2 * time.Second

// stopTracing sends what is left.
func (a *app) stopTracing() {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	if err := a.tracing.Close(ctx); err != nil {
		a.log.Warn().Err(err).Msg("traces cannot be sent")
	}
}

// ledgerOptions are the options of all ledgers that this program writes to.
func (a *app) ledgerOptions() []ledger.Option {
	options := slices.Clone(a.options.Ledger)
	if a.tracing != nil {
		options = append(options, ledger.Traced(a.tracing.Provider()))
	}
	return options
}
