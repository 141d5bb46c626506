package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"

	"github.com/XSAM/otelsql"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Option is an option of [Open].
type Option func(*settings)

// settings are what options set.
type settings struct {
	// provider makes the spans of statements; nil means that there are none.
	provider trace.TracerProvider
	// now is the clock of entries.
	now func() time.Time
	// wrap, unless nil, wraps what opens connections to the database.
	wrap func(driver.Connector) driver.Connector
}

func newSettings(options []Option) settings {
	s := settings{now: time.Now}
	for _, option := range options {
		option(&s)
	}
	return s
}

// Traced makes a span of each statement that belongs to a trace. Without it, statements
// make none.
func Traced(provider trace.TracerProvider) Option {
	return func(s *settings) { s.provider = provider }
}

// Clock sets the clock that says when entries were recorded; the default is
// [time.Now]. Nothing in a ledger depends on it but the entries' times.
func Clock(now func() time.Time) Option {
	return func(s *settings) { s.now = now }
}

// Wrapped puts something between the ledger and the driver of its database: wrap returns
// what opens the connections, in place of the driver's own.
func Wrapped(wrap func(driver.Connector) driver.Connector) Option {
	return func(s *settings) { s.wrap = wrap }
}

// openDB opens a database with an SQL driver.
func openDB(system string, connector driver.Connector, s settings) *sql.DB {
	if s.wrap != nil {
		connector = s.wrap(connector)
	}
	if s.provider == nil {
		return sql.OpenDB(connector)
	}
	return otelsql.OpenDB(connector,
		otelsql.WithTracerProvider(s.provider),
		otelsql.WithAttributes(attribute.String("db.system.name", system)),
		otelsql.WithSpanOptions(otelsql.SpanOptions{
			OmitConnResetSession: true, OmitConnPrepare: true, OmitRows: true, OmitConnectorConnect: true, DisableErrSkip: true,
			// What belongs to no trace, such as a migration, does not begin one.
			SpanFilter: func(ctx context.Context, _ otelsql.Method, _ string, _ []driver.NamedValue) bool {
				return trace.SpanContextFromContext(ctx).IsValid()
			},
		}))
}
