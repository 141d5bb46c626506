package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/XSAM/otelsql"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Option is an option of [Open].
type Option func(*tracing)

// tracing says where the spans of statements go; nowhere if there is no provider.
type tracing struct {
	provider trace.TracerProvider
}

// Traced makes a span of each statement that belongs to a trace. Without it, statements
// make none.
func Traced(provider trace.TracerProvider) Option {
	return func(t *tracing) { t.provider = provider }
}

// openSQLiteDB opens a SQLite database.
func openSQLiteDB(dsn string, options []Option) (*sql.DB, error) {
	if spans, ok := spanOptions("sqlite", options); ok {
		return otelsql.Open("sqlite", dsn, spans...)
	}
	return sql.Open("sqlite", dsn)
}

// openConnector opens a PostgreSQL database.
func openConnector(connector driver.Connector, options []Option) *sql.DB {
	if spans, ok := spanOptions("postgresql", options); ok {
		return otelsql.OpenDB(connector, spans...)
	}
	return sql.OpenDB(connector)
}

// spanOptions returns which statements make spans, and what they say; false if none do.
func spanOptions(system string, options []Option) ([]otelsql.Option, bool) {
	var t tracing
	for _, option := range options {
		option(&t)
	}
	if t.provider == nil {
		return nil, false
	}
	return []otelsql.Option{
		otelsql.WithTracerProvider(t.provider),
		otelsql.WithAttributes(attribute.String("db.system.name", system)),
		otelsql.WithSpanOptions(otelsql.SpanOptions{
			OmitConnResetSession: true, OmitConnPrepare: true, OmitRows: true, OmitConnectorConnect: true, DisableErrSkip: true,
			// What belongs to no trace, such as a migration, does not begin one.
			SpanFilter: func(ctx context.Context, _ otelsql.Method, _ string, _ []driver.NamedValue) bool {
				return trace.SpanContextFromContext(ctx).IsValid()
			},
		}),
	}, true
}
