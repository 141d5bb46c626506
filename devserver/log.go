package devserver

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
)

// logger lets the Temporal server write to a zerolog logger.
type logger struct {
	log  zerolog.Logger
	tags []tag.Tag // of everything that it logs
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

// fail reports a failure, unless there is one already.
func (a *alarm) fail(err error) {
	select {
	case a.failed <- err:
	default:
	}
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
func (l logger) Warn(msg string, tags ...tag.Tag)  { l.write(zerolog.WarnLevel, msg, tags) }
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
	l.fail(failure)
	runtime.Goexit()
}

// With implements [log.WithLogger]. The server calls it all the time, and logs
// very little: the tags are written out when they are needed.
func (l logger) With(tags ...tag.Tag) log.Logger {
	l.tags = slices.Concat(l.tags, tags)
	return l
}

// plainLevel is the level of a message, but for what the server complains of
// although nothing is wrong.
func plainLevel(level zerolog.Level, msg string, tags []tag.Tag) zerolog.Level {
	// Nobody asked for it.
	if strings.HasPrefix(msg, "HTTP API port has not been set.") {
		return zerolog.DebugLevel
	}
	// The server's own workers have no use for what comes back with a reply.
	if strings.HasPrefix(msg, "TrailerToContextMetadataInterceptor:") {
		return zerolog.DebugLevel
	}
	// The server's own workers of a namespace that was deleted have nobody to take
	// leave of.
	if msg == "ShutdownWorker rpc errored during worker shutdown." {
		return zerolog.DebugLevel
	}
	for _, t := range tags {
		err, _ := t.Value().(string)
		if t.Key() == "error" && (err == "task queue shutting down" || // of a worker that has left: the task goes to another
			strings.Contains(err, context.Canceled.Error()) || // whoever asked has gone away, or we have been told to stop
			err == "shard status unknown" || // a write was cut off: until the shard is read anew; if that fails, it is said
			strings.Contains(err, "Frontend is not healthy yet")) { // the server's own workers are there before it
			return zerolog.DebugLevel
		}
	}
	return level
}

func (l logger) write(level zerolog.Level, msg string, tags []tag.Tag) {
	if l.stopping.Load() || level < l.log.GetLevel() {
		return
	}
	if event := l.log.WithLevel(plainLevel(level, msg, tags)); event.Enabled() {
		event.Fields(fields(l.tags)).Fields(fields(tags)).Msg(msg)
	}
}

func fields(tags []tag.Tag) []any {
	fields := make([]any, 0, 2*len(tags))
	for _, t := range tags {
		fields = append(fields, t.Key(), t.Value())
	}
	return fields
}
