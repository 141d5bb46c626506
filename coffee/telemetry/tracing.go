package telemetry

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

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
)

// Tracing sends spans to a collector. A nil Tracing sends nothing.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

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
	var exporter *otlptrace.Exporter
	var err error
	switch protocol := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf"); protocol {
	case "http/protobuf":
		exporter, err = otlptracehttp.New(ctx)
	case "grpc":
		exporter, err = otlptracegrpc.New(ctx)
	default:
		err = fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q: use http/protobuf, grpc", protocol)
	}
	if err != nil {
		return nil, err
	}
	described, err := resource.New(ctx, resource.WithHost(), resource.WithProcessPID(),
		resource.WithAttributes(attribute.String("service.name", "coffee"), attribute.String("service.version", version)),
		resource.WithFromEnv()) // the last one counts
	if err != nil && !errors.Is(err, resource.ErrPartialResource) { // what can be read is used, and OpenTelemetry tells of the rest
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(validExporter{exporter}), sdktrace.WithResource(described), sdktrace.WithIDGenerator(ids{}))
	return &Tracing{provider, provider.Tracer("example.com/coffee")}, nil
}

// Provider returns the provider of tracers, for libraries that make spans of their own.
func (t *Tracing) Provider() trace.TracerProvider { return t.provider }

// Close sends what is left. It gives up when the context ends.
func (t *Tracing) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Interceptors returns the interceptors for the options of a Temporal client, and so of
// its workers. Queries make no spans: everyone who looks at an order makes them.
func (t *Tracing) Interceptors() ([]interceptor.ClientInterceptor, error) {
	if t == nil {
		return nil, nil
	}
	tracer, err := opentelemetry.NewTracer(opentelemetry.TracerOptions{
		Tracer:                  t.tracer,
		SpanContextKey:          spanKey{},
		DisableQueryTracing:     true,
		AllowInvalidParentSpans: true, // a header that cannot be read must not stop an order
	})
	if err != nil {
		return nil, err
	}
	return []interceptor.ClientInterceptor{interceptor.NewTracingInterceptor(&orderTracer{tracer, t.tracer}), &ender{tracing: t}}, nil
}

// spanKey is the key of the span in the context of a workflow.
type spanKey struct{}

// orderTracer is the SDK's tracer, except for the span of a workflow. That lasts as long
// as the order, whose workflow may run on several workers and is replayed on each. So the
// span's id follows from the run id, and it is made when the workflow ends; until then
// only its id is used, as the parent of others.
type orderTracer struct {
	interceptor.Tracer
	tracer trace.Tracer
}

// The SDK's tags of the span of a workflow.
const (
	tagWorkflowID = "temporalWorkflowID"
	tagRunID      = "temporalRunID"
)

// StartSpan implements [interceptor.Tracer].
func (t *orderTracer) StartSpan(options *interceptor.TracerStartSpanOptions) (interceptor.TracerSpan, error) {
	o := *options
	if parent, ok := o.Parent.(*workflowSpan); ok {
		o.Parent = parent.ref
	}
	if o.Operation != "RunWorkflow" {
		return t.Tracer.StartSpan(&o)
	}
	hash := sha256.Sum256([]byte(o.Tags[tagRunID]))
	config := trace.SpanContextConfig{TraceID: trace.TraceID(hash[:16]), SpanID: trace.SpanID(hash[16:24])}
	span := &workflowSpan{options: o}
	// The SDK's reference to a span of another process has the methods of a SpanContext.
	if parent, ok := o.Parent.(interface {
		TraceID() trace.TraceID
		SpanID() trace.SpanID
		TraceFlags() trace.TraceFlags
	}); ok {
		config.TraceID, config.TraceFlags = parent.TraceID(), parent.TraceFlags()
		span.parent = trace.NewSpanContext(trace.SpanContextConfig{TraceID: parent.TraceID(), SpanID: parent.SpanID(), TraceFlags: parent.TraceFlags(), Remote: true})
	}
	span.own = trace.NewSpanContext(config)
	if !span.parent.IsValid() {
		// The sampler decides, as it will when the span is made. This one is never ended.
		_, sampled := t.tracer.Start(context.WithValue(context.Background(), ownID{}, span.own), o.Operation+":"+o.Name)
		span.own = span.own.WithTraceFlags(sampled.SpanContext().TraceFlags())
	}
	var err error
	span.ref, err = t.UnmarshalSpan(map[string]string{"traceparent": fmt.Sprintf("00-%s-%s-%s", span.own.TraceID(), span.own.SpanID(), span.own.TraceFlags())})
	return span, err
}

// GetLogger implements [interceptor.Tracer].
func (t *orderTracer) GetLogger(logger log.Logger, ref interceptor.TracerSpanRef) log.Logger {
	switch span := ref.(type) {
	case *workflowSpan:
		return log.With(logger, fieldTraceID, span.own.TraceID().String())
	case trace.Span:
		return log.With(logger, fieldTraceID, span.SpanContext().TraceID().String())
	}
	return logger
}

// workflowSpan stands for the span of a workflow until that ends.
type workflowSpan struct {
	options     interceptor.TracerStartSpanOptions
	parent, own trace.SpanContext // the parent is invalid if there is none
	ref         interceptor.TracerSpanRef
}

// Finish implements [interceptor.TracerSpan]. It is called when the workflow ends, but
// also in each replay, and when a worker forgets the workflow: see [ender].
func (s *workflowSpan) Finish(*interceptor.TracerFinishSpanOptions) {}

// ender ends the spans of workflows, and adds what the SDK does not say to those of
// activities. It comes after the SDK's interceptor.
type ender struct {
	interceptor.InterceptorBase
	tracing *Tracing
}

// InterceptWorkflow implements [interceptor.WorkerInterceptor].
func (e *ender) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &workflowEnder{interceptor.WorkflowInboundInterceptorBase{Next: next}, e.tracing}
}

type workflowEnder struct {
	interceptor.WorkflowInboundInterceptorBase
	tracing *Tracing
}

// ExecuteWorkflow implements [interceptor.WorkflowInboundInterceptor].
func (w *workflowEnder) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	result, err := w.Next.ExecuteWorkflow(ctx, in)
	// A worker that forgets a workflow does not get here.
	if span, ok := ctx.Value(spanKey{}).(*workflowSpan); ok && !workflow.IsReplaying(ctx) {
		w.tracing.workflowEnded(span, workflow.Now(ctx), result, err)
	}
	return result, err
}

// workflowEnded makes the span of a workflow.
func (t *Tracing) workflowEnded(span *workflowSpan, at time.Time, result any, err error) {
	ctx := context.WithValue(trace.ContextWithSpanContext(context.Background(), span.parent), ownID{}, span.own)
	_, made := t.tracer.Start(ctx, span.options.Operation+":"+span.options.Name, trace.WithTimestamp(span.options.Time), trace.WithSpanKind(trace.SpanKindServer))
	for _, tag := range []string{tagWorkflowID, tagRunID} {
		made.SetAttributes(attribute.String(tag, span.options.Tags[tag]))
	}
	if order, ok := result.(coffee.OrderResult); ok {
		made.SetAttributes(attribute.String("coffee.order_id", order.OrderID), attribute.String("coffee.status", string(order.Status)))
	}
	if err != nil {
		made.RecordError(err)
		made.SetStatus(codes.Error, err.Error())
	}
	made.End(trace.WithTimestamp(at))
}

// InterceptActivity implements [interceptor.WorkerInterceptor].
func (e *ender) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &attempts{interceptor.ActivityInboundInterceptorBase{Next: next}}
}

type attempts struct {
	interceptor.ActivityInboundInterceptorBase
}

// ExecuteActivity implements [interceptor.ActivityInboundInterceptor].
func (a *attempts) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	trace.SpanFromContext(ctx).SetAttributes(attribute.Int("temporalActivityAttempt", int(activity.GetInfo(ctx).Attempt)))
	return a.Next.ExecuteActivity(ctx, in)
}

// ids makes random ids, except for a span whose context says which it has.
type ids struct{}

// ownID is the key of that id in the context.
type ownID struct{}

// NewIDs implements [sdktrace.IDGenerator].
func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if own, ok := ctx.Value(ownID{}).(trace.SpanContext); ok {
		return own.TraceID(), own.SpanID()
	}
	var id trace.TraceID
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
	return id, ids{}.NewSpanID(ctx, id)
}

// NewSpanID implements [sdktrace.IDGenerator].
func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if own, ok := ctx.Value(ownID{}).(trace.SpanContext); ok {
		return own.SpanID()
	}
	var id trace.SpanID
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
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
