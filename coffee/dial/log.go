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

func (l sdkLogger) write(level zerolog.Level, msg string, keyvals []any) {
	if isAftermath(keyvals) {
		level = zerolog.DebugLevel
	}
	if isNondeterminism(keyvals) {
		if msg != workflowPanic { // it is said there already
			level = zerolog.DebugLevel
		}
		msg, keyvals = "nondeterminism error: this worker's code does not fit the order's history: the order waits for a worker whose code does; coffee replay says where they part", withoutStack(keyvals)
	}
	if l.logger.GetLevel() > level {
		return
	}
	l.logger.WithLevel(level).Fields(pairs(keyvals)).Msg(msg)
}

// workerStopping is the text of the error with which a poll ends while its worker
// stops. The SDK does not export it (errStop in internal_worker_base.go).
const workerStopping = "worker stopping"

// isAftermath reports whether the SDK complains about an activity that no longer
// matters, because its order was cancelled, about a heartbeat that was in flight when
// the activity ended, or about a poll that was in flight when the worker stopped. All
// are expected, so they are neither warnings nor errors.
func isAftermath(keyvals []any) bool {
	for _, v := range keyvals {
		err, ok := v.(error)
		if !ok {
			continue
		}
		var gone *serviceerror.NotFound
		var cancelled *serviceerror.Canceled
		if errors.Is(err, context.Canceled) || errors.As(err, &cancelled) || temporal.IsCanceledError(err) || errors.As(err, &gone) || err.Error() == workerStopping {
			return true
		}
	}
	return false
}

// workflowPanic is what the SDK says first of a nondeterminism error.
const workflowPanic = "Workflow panic"

// isNondeterminism reports whether the SDK logs a nondeterminism error, which is rule
// TMPRL1100 of https://github.com/temporalio/rules.
func isNondeterminism(keyvals []any) bool {
	return slices.ContainsFunc(keyvals, func(v any) bool {
		err, ok := v.(error)
		return ok && strings.Contains(err.Error(), "[TMPRL1100]")
	})
}

// withoutStack leaves out the stack trace, which is that of the SDK.
func withoutStack(keyvals []any) []any {
	for i := 0; i+1 < len(keyvals); i += 2 {
		if keyvals[i] == "StackTrace" {
			return slices.Concat(keyvals[:i], keyvals[i+2:])
		}
	}
	return keyvals
}

// With implements [log.WithLogger].
func (l sdkLogger) With(keyvals ...any) log.Logger {
	return sdkLogger{l.logger.With().Fields(pairs(keyvals)).Logger()}
}

// pairs turns keys into strings and values into loggable ones, in their order.
func pairs(keyvals []any) []any {
	fields := make([]any, 0, len(keyvals)+1)
	for i, v := range keyvals {
		switch v := v.(type) {
		case error:
			fields = append(fields, v.Error())
		case fmt.Stringer:
			fields = append(fields, v.String())
		default:
			if i%2 == 0 {
				fields = append(fields, fmt.Sprint(v))
			} else {
				fields = append(fields, v)
			}
		}
	}
	if len(fields)%2 == 1 {
		fields = append(fields, "(missing)")
	}
	return fields
}
