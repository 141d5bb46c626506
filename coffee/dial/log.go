package dial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
)

// NewLogger returns a logger for the Temporal SDK that writes to a zerolog
// logger.
func NewLogger(logger zerolog.Logger) log.Logger { return sdkLogger{logger} }

type sdkLogger struct{ logger zerolog.Logger }

var (
	_ log.Logger     = sdkLogger{}
	_ log.WithLogger = sdkLogger{}
)

func (l sdkLogger) Debug(msg string, keyvals ...any) { l.write(zerolog.DebugLevel, msg, keyvals) }
func (l sdkLogger) Info(msg string, keyvals ...any)  { l.write(zerolog.InfoLevel, msg, keyvals) }
func (l sdkLogger) Warn(msg string, keyvals ...any)  { l.write(zerolog.WarnLevel, msg, keyvals) }
func (l sdkLogger) Error(msg string, keyvals ...any) { l.write(zerolog.ErrorLevel, msg, keyvals) }

// With implements [log.WithLogger].
func (l sdkLogger) With(keyvals ...any) log.Logger {
	return sdkLogger{l.logger.With().Fields(pairs(keyvals)).Logger()}
}

const (
	// workerStopping is the text of the error with which a poll ends while its worker
	// stops. The SDK does not export it (errStop in internal_worker_base.go).
	workerStopping = "worker stopping"
	// nondeterminism marks errors by rule TMPRL1100 of https://github.com/temporalio/rules.
	nondeterminism = "[TMPRL1100]"
	// workflowPanic is what the SDK says first of such an error.
	workflowPanic = "Workflow panic"
)

func (l sdkLogger) write(level zerolog.Level, msg string, keyvals []any) {
	for _, v := range keyvals {
		err, ok := v.(error)
		switch {
		case !ok:
		case isAftermath(err):
			level = zerolog.DebugLevel
		case strings.Contains(err.Error(), nondeterminism):
			if msg != workflowPanic { // it is said there already
				level = zerolog.DebugLevel
			}
			msg = "nondeterminism error: this worker's code does not fit the order's history: the order waits for a worker whose code does; coffee replay says where they part"
			if i := slices.Index(keyvals, any("StackTrace")); i >= 0 { // of the SDK
				keyvals = slices.Concat(keyvals[:i], keyvals[i+2:])
			}
		}
	}
	if l.logger.GetLevel() <= level {
		l.logger.WithLevel(level).Fields(pairs(keyvals)).Msg(msg)
	}
}

// isAftermath reports whether an error is about an activity that no longer matters, because
// its order was cancelled, about a heartbeat that was in flight when the activity ended, or
// about a poll that was in flight when the worker stopped. All are expected, so they are
// neither warnings nor errors.
func isAftermath(err error) bool {
	var gone *serviceerror.NotFound
	var cancelled *serviceerror.Canceled
	return errors.Is(err, context.Canceled) || errors.As(err, &cancelled) || temporal.IsCanceledError(err) || errors.As(err, &gone) || err.Error() == workerStopping
}

// pairs turns keys into strings and values into loggable ones, in their order.
func pairs(keyvals []any) []any {
	fields := slices.Clone(keyvals)
	if len(fields)%2 == 1 {
		fields = append(fields, "(missing)")
	}
	for i, v := range fields {
		if i%2 == 0 {
			fields[i] = fmt.Sprint(v)
		} else if value, ok := v.(fmt.Stringer); ok {
			fields[i] = value.String()
		}
	}
	return fields
}
