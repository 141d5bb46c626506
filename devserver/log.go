//go:build !noserver

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
	tags []tag.Tag // added to every message
	*alarm
}

// alarm is shared by all loggers of one server.
type alarm struct {
	// stopping silences everything: a server that is shutting down has plenty
	// to complain about, none of which matters.
	stopping atomic.Bool
	// failed holds at most one failure that has not been received yet.
	failed chan error
}

// fail reports a failure, unless an earlier one has not been received yet.
func (a *alarm) fail(err error) {
	select {
	case a.failed <- err:
	default:
	}
}

// fatalError is a message that the Temporal server logged as fatal.
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

// DPanic logs an error. It would panic in development only, which this is not.
func (l logger) DPanic(msg string, tags ...tag.Tag) { l.write(zerolog.ErrorLevel, msg, tags) }

func (l logger) Panic(msg string, tags ...tag.Tag) {
	l.write(zerolog.ErrorLevel, msg, tags)
	panic(msg)
}

// Fatal must not return. It must not end the process either, which is not the
// server's to end. It reports the failure and ends the goroutine.
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

// With implements [log.WithLogger]. The server calls it all the time and logs very
// little, so the tags are formatted only when a message is written.
func (l logger) With(tags ...tag.Tag) log.Logger {
	l.tags = slices.Concat(l.tags, tags)
	return l
}

// harmless are how messages begin that the server logs although nothing is wrong.
var harmless = []string{
	"HTTP API port has not been set.",                    // Nexus needs none here: see nexus.go
	"TrailerToContextMetadataInterceptor:",               // the server's own workers do not use the metadata that comes with a reply
	"ShutdownWorker rpc errored during worker shutdown.", // the server's own workers of a deleted namespace call it
}

// harmlessErrors are parts of errors that are none.
var harmlessErrors = []string{
	"task queue shutting down",                 // a worker has left: its task goes to another one
	context.Canceled.Error(),                   // the caller has gone away, or the server was told to stop
	"The Time-Skipping feature is not enabled", // the client is told
	"shard status unknown",                     // a write was cut off; if reloading the shard fails, that is logged
	"Frontend is not healthy yet",              // the server's own workers start before it
}

// plainLevel returns the level to log a message at: the given one, or debug if the
// server complains although nothing is wrong.
func plainLevel(level zerolog.Level, msg string, tags []tag.Tag) zerolog.Level {
	is := slices.ContainsFunc(harmless, func(begin string) bool { return strings.HasPrefix(msg, begin) })
	for _, t := range tags {
		if err, ok := t.Value().(string); ok && t.Key() == "error" {
			is = is || slices.ContainsFunc(harmlessErrors, func(part string) bool { return strings.Contains(err, part) })
		}
	}
	if is {
		return zerolog.DebugLevel
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
