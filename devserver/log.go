package devserver

import (
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
)

// logger lets the Temporal server write to a zerolog logger.
type logger struct {
	log zerolog.Logger
	*alarm
}

// alarm is shared by all loggers of one server.
type alarm struct {
	// stopping silences everything: a server that is shutting down has plenty
	// to complain about, none of which matters.
	stopping atomic.Bool
	// failed receives the first fatal message.
	failed chan error
}

// fatalError is what the Temporal server logs as fatal.
type fatalError struct {
	msg   string
	cause string
}

func (e *fatalError) Error() string {
	if e.cause == "" {
		return e.msg
	}
	return e.msg + ": " + e.cause
}

var (
	_ log.Logger     = logger{}
	_ log.WithLogger = logger{}
)

func (l logger) Debug(msg string, tags ...tag.Tag) { l.write(zerolog.DebugLevel, msg, tags) }
func (l logger) Info(msg string, tags ...tag.Tag)  { l.write(zerolog.InfoLevel, msg, tags) }
func (l logger) Warn(msg string, tags ...tag.Tag)  { l.write(warnLevel(msg), msg, tags) }
func (l logger) Error(msg string, tags ...tag.Tag) { l.write(zerolog.ErrorLevel, msg, tags) }

// DPanic panics in development only, which this is not.
func (l logger) DPanic(msg string, tags ...tag.Tag) { l.write(zerolog.ErrorLevel, msg, tags) }

func (l logger) Panic(msg string, tags ...tag.Tag) {
	l.write(zerolog.ErrorLevel, msg, tags)
	panic(msg)
}

// Fatal must not return. It does not end the process either, which is not the
// server's to end: it reports the failure and ends the goroutine.
func (l logger) Fatal(msg string, tags ...tag.Tag) {
	failure := &fatalError{msg: msg}
	for _, t := range tags {
		if t.Key() == "error" {
			failure.cause, _ = t.Value().(string)
		}
	}
	select {
	case l.failed <- failure:
	default:
	}
	runtime.Goexit()
}

// With implements [log.WithLogger].
func (l logger) With(tags ...tag.Tag) log.Logger {
	return logger{log: l.log.With().Fields(fields(tags)).Logger(), alarm: l.alarm}
}

// warnLevel plays down what the server warns of on every start although nothing
// is wrong: here the HTTP API is off because nobody asked for it.
func warnLevel(msg string) zerolog.Level {
	if strings.HasPrefix(msg, "HTTP API port has not been set.") {
		return zerolog.DebugLevel
	}
	return zerolog.WarnLevel
}

func (l logger) write(level zerolog.Level, msg string, tags []tag.Tag) {
	if l.log.GetLevel() > level || l.stopping.Load() {
		return
	}
	l.log.WithLevel(level).Fields(fields(tags)).Msg(msg)
}

func fields(tags []tag.Tag) []any {
	fields := make([]any, 0, 2*len(tags))
	for _, t := range tags {
		fields = append(fields, t.Key(), t.Value())
	}
	return fields
}
