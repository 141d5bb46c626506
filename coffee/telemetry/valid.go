package telemetry

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// validExporter makes the texts of spans valid UTF-8, whatever made the spans: one that is
// not, such as the message of a database, would lose the whole batch.
type validExporter struct{ sdktrace.SpanExporter }

// ExportSpans implements [sdktrace.SpanExporter].
func (e validExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	valid := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, span := range spans {
		valid[i] = validSpan{span}
	}
	return e.SpanExporter.ExportSpans(ctx, valid)
}

// validSpan is a span with valid texts.
type validSpan struct{ sdktrace.ReadOnlySpan }

func (s validSpan) Name() string { return validText(s.ReadOnlySpan.Name()) }

func (s validSpan) Status() sdktrace.Status {
	status := s.ReadOnlySpan.Status()
	status.Description = validText(status.Description)
	return status
}

func (s validSpan) Attributes() []attribute.KeyValue { return validTexts(s.ReadOnlySpan.Attributes()) }

func (s validSpan) Events() []sdktrace.Event {
	events := slices.Clone(s.ReadOnlySpan.Events())
	for i := range events {
		events[i].Attributes = validTexts(events[i].Attributes)
	}
	return events
}

func validTexts(attributes []attribute.KeyValue) []attribute.KeyValue {
	attributes = slices.Clone(attributes)
	for i, a := range attributes {
		if a.Value.Type() == attribute.STRING {
			attributes[i].Value = attribute.StringValue(validText(a.Value.AsString()))
		}
	}
	return attributes
}

func validText(s string) string { return strings.ToValidUTF8(s, string(utf8.RuneError)) }
