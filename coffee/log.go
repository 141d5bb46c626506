package coffee

import (
	"fmt"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/log"
)

// NewSDKLogger lets the Temporal SDK write to a zerolog logger.
func NewSDKLogger(logger zerolog.Logger) log.Logger { return sdkLogger{logger} }

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
	event := l.logger.WithLevel(level)
	if l.logger.GetLevel() > level {
		return
	}
	event.Fields(pairs(keyvals)).Msg(msg)
}

// With implements [log.WithLogger].
func (l sdkLogger) With(keyvals ...any) log.Logger {
	return sdkLogger{l.logger.With().Fields(pairs(keyvals)).Logger()}
}

// pairs makes keys strings and values loggable, in their order.
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
