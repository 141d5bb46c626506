package telemetry

import (
	"context"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// validClient makes the texts of spans valid UTF-8, whatever made the spans: one that is
// not, such as the message of a database, would lose the whole batch.
type validClient struct{ otlptrace.Client }

// UploadTraces implements [otlptrace.Client].
func (c validClient) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	for _, span := range spans {
		makeValid(span.ProtoReflect())
	}
	return c.Client.UploadTraces(ctx, spans)
}

// makeValid makes all texts in a message valid that are not in a list or a map.
func makeValid(message protoreflect.Message) {
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsList() && field.Message() != nil:
			for i := range value.List().Len() {
				makeValid(value.List().Get(i).Message())
			}
		case field.IsList() || field.IsMap():
		case field.Message() != nil:
			makeValid(value.Message())
		case field.Kind() == protoreflect.StringKind:
			message.Set(field, protoreflect.ValueOfString(strings.ToValidUTF8(value.String(), string(utf8.RuneError))))
		}
		return true
	})
}
