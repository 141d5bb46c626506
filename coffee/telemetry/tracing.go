package telemetry

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/workflow"

	"example.com/coffee/coffee"
	"example.com/coffee/internal/around"
)

// Tracing sends spans to a collector. A nil Tracing sends nothing.
type Tracing struct{ *sdktrace.TracerProvider }

// NewTracing returns nil unless OTEL_EXPORTER_OTLP_ENDPOINT, or the same for traces only,
// names a collector. All variables of OpenTelemetry's exporter, sampler and resource
// count (https://opentelemetry.io/docs/languages/sdk-configuration/). The protocol is
// http/protobuf, or grpc if OTEL_EXPORTER_OTLP_PROTOCOL says so.
func NewTracing(ctx context.Context, version string) (*Tracing, error) {
	if cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")) == "" {
		return nil, nil
	}
	if os.Getenv("OTEL_SDK_DISABLED") == "true" || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, nil
	}
	var client otlptrace.Client
	switch protocol := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf"); protocol {
	case "http/protobuf":
		client = otlptracehttp.NewClient()
	case "grpc":
		client = otlptracegrpc.NewClient()
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q: use http/protobuf, grpc", protocol)
	}
	exporter, err := otlptrace.New(ctx, validClient{client})
	if err != nil {
		return nil, err
	}
	described, err := resource.New(ctx, resource.WithHost(), resource.WithProcessPID(),
		resource.WithAttributes(attribute.String("service.name", "coffee"), attribute.String("service.version", version)),
		resource.WithFromEnv()) // the last one counts
	if err != nil && !errors.Is(err, resource.ErrPartialResource) { // what can be read is used, and OpenTelemetry tells of the rest
		return nil, err
	}
	return &Tracing{sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described), sdktrace.WithIDGenerator(ids{}))}, nil
}

// Close sends what is left. It gives up when the context ends.
func (t *Tracing) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.TracerProvider.Shutdown(ctx)
}

// Interceptors returns the interceptors for the options of a Temporal client, and so of
// its workers. Queries make no spans: everyone who looks at an order makes them.
func (t *Tracing) Interceptors() ([]interceptor.ClientInterceptor, error) {
	if t == nil {
		return nil, nil
	}
	options := opentelemetry.TracerOptions{
		Tracer:                  t.TracerProvider.Tracer("example.com/coffee"),
		DisableQueryTracing:     true,
		AllowInvalidParentSpans: true, // a header that cannot be read must not stop an order
	}
	tracer, err := opentelemetry.NewTracer(options)
	if err != nil {
		return nil, err
	}
	return []interceptor.ClientInterceptor{interceptor.NewTracingInterceptor(&orderTracer{tracer, options}),
		&around.Calls{Workflow: endSpan, Activity: addAttempt}}, nil
}

// orderTracer is the SDK's tracer, except for the span of a workflow. That lasts as long
// as the order, whose workflow may run on several workers and is replayed on each. So the
// span's id follows from the run id.
type orderTracer struct {
	interceptor.Tracer
	options opentelemetry.TracerOptions
}

// StartSpan implements [interceptor.Tracer].
func (t *orderTracer) StartSpan(o *interceptor.TracerStartSpanOptions) (interceptor.TracerSpan, error) {
	if o.Operation != "RunWorkflow" {
		return t.Tracer.StartSpan(o)
	}
	options := t.options
	options.SpanStarter = func(ctx context.Context, t trace.Tracer, name string, options ...trace.SpanStartOption) trace.Span {
		_, span := t.Start(context.WithValue(ctx, runID{}, o.Tags["temporalRunID"]), name, options...)
		return workflowSpan{span}
	}
	tracer, err := opentelemetry.NewTracer(options)
	if err != nil {
		return nil, err
	}
	return tracer.StartSpan(o)
}

// GetLogger implements [interceptor.Tracer].
func (t *orderTracer) GetLogger(logger log.Logger, ref interceptor.TracerSpanRef) log.Logger {
	if span, ok := ref.(trace.Span); ok {
		return log.With(logger, fieldTraceID, span.SpanContext().TraceID().String())
	}
	return logger
}

// workflowSpan is the span of a workflow, or of a replay. [endSpan] ends it.
type workflowSpan struct{ trace.Span }

// End implements [trace.Span]. The SDK calls it when the workflow ends, but also in each
// replay, and when a worker forgets the workflow.
func (workflowSpan) End(...trace.SpanEndOption) {}

// endSpan ends the span of a workflow that has ended. A worker that forgets a workflow does
// not get beyond next.
func endSpan(ctx workflow.Context, next func() (any, error)) (any, error) {
	result, err := next()
	span, _ := opentelemetry.SpanFromWorkflowContext(ctx)
	made, ok := span.(workflowSpan)
	if !ok || workflow.IsReplaying(ctx) {
		return result, err
	}
	if order, ok := result.(coffee.OrderResult); ok {
		made.SetAttributes(attribute.String("coffee.order_id", order.OrderID), attribute.String("coffee.status", string(order.Status)))
	}
	if err != nil {
		made.RecordError(err)
		made.SetStatus(codes.Error, err.Error())
	}
	made.Span.End(trace.WithTimestamp(workflow.Now(ctx)))
	return result, err
}

// addAttempt adds to the span of an activity which attempt it is.
func addAttempt(ctx context.Context, next func(context.Context) (any, error)) (any, error) {
	trace.SpanFromContext(ctx).SetAttributes(attribute.Int("temporalActivityAttempt", int(activity.GetInfo(ctx).Attempt)))
	return next(ctx)
}

// ids makes random ids, except for the span of a run whose id is in the context.
type ids struct{}

type runID struct{}

// NewIDs implements [sdktrace.IDGenerator].
func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	random := make([]byte, sha256.Size)
	if run, ok := ctx.Value(runID{}).(string); ok {
		hash := sha256.Sum256([]byte(run))
		random = hash[:]
	} else {
		rand.Read(random) // never fails
	}
	return trace.TraceID(random[:16]), trace.SpanID(random[16:24])
}

// NewSpanID implements [sdktrace.IDGenerator].
func (i ids) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	_, id := i.NewIDs(ctx)
	return id
}

// fieldTraceID is the field of the log with the id of a trace.
const fieldTraceID = "trace_id"

// LogHook adds the trace id of an event's context to the log.
func LogHook(event *zerolog.Event, _ zerolog.Level, _ string) {
	if span := trace.SpanContextFromContext(event.GetCtx()); span.IsValid() {
		event.Str(fieldTraceID, span.TraceID().String())
	}
}
