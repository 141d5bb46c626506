package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"example.com/coffee/coffee"
)

// TestBoundedLabels: types that other programs make up add no metrics.
func TestBoundedLabels(t *testing.T) {
	t.Parallel()
	metrics, err := NewMetrics()
	if err != nil {
		t.Fatal(err)
	}
	handler := metrics.Handler().WithTags(map[string]string{"namespace": "default"})
	for i := range 100 {
		tags := map[string]string{"workflow_type": fmt.Sprint("Workflow", i), "activity_type": fmt.Sprint("activity-\xff", i)}
		handler.WithTags(tags).Counter("tasks").Inc(1)
		if tags["workflow_type"] == "other" {
			t.Fatal("it changed its caller's labels")
		}
	}
	handler.WithTags(map[string]string{"workflow_type": coffee.WorkflowType, "activity_type": "none"}).Counter("tasks").Inc(1)
	handler.WithTags(map[string]string{"activity_type": coffee.ActivityBrewCoffee}).Counter("tasks").Inc(1)
	page := httptest.NewRecorder()
	metrics.ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	var got []string
	for line := range strings.Lines(page.Body.String()) {
		if strings.HasPrefix(line, "tasks_total") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		`tasks_total{activity_type="brew_coffee",namespace="default"} 1`,
		`tasks_total{activity_type="none",namespace="default",workflow_type="OrderCoffeeWorkflow"} 1`,
		`tasks_total{activity_type="other",namespace="default",workflow_type="other"} 100`,
	}
	for _, line := range want {
		if !strings.Contains(strings.Join(got, "\n"), line) {
			t.Errorf("there is no %s", line)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %s", strings.Join(got, "\n"))
	}
}

// uploads is a collector's client that has what was sent.
type uploads struct {
	otlptrace.Client
	got []*tracepb.ResourceSpans
}

func (u *uploads) Start(context.Context) error { return nil }

func (u *uploads) UploadTraces(_ context.Context, spans []*tracepb.ResourceSpans) error {
	u.got = append(u.got, spans...)
	return nil
}

// TestValidSpans: one text that is not UTF-8 would lose all spans that are sent with it.
func TestValidSpans(t *testing.T) {
	t.Parallel()
	var collector uploads
	exporter, err := otlptrace.New(t.Context(), validClient{&collector})
	if err != nil {
		t.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter), sdktrace.WithResource(resource.NewSchemaless(attribute.String("host.name", "caf\xe9"))))
	_, span := provider.Tracer("test").Start(context.Background(), "caf\xe9")
	span.SetAttributes(attribute.String("db.statement", "\xff"), attribute.Int("rows", 1), attribute.StringSlice("args", []string{"caf\xe9"}))
	span.AddEvent("caf\xe9")
	span.RecordError(errors.New("caf\xe9 is gone"))
	span.SetStatus(codes.Error, "caf\xe9 is gone")
	span.End()
	if len(collector.got) != 1 {
		t.Fatalf("got %v", collector.got)
	}
	if _, err := proto.Marshal(collector.got[0]); err != nil {
		t.Error(err)
	}
	got := collector.got[0].GetScopeSpans()[0].GetSpans()[0]
	if got.GetName() != "caf\ufffd" || got.GetStatus().GetMessage() != "caf\ufffd is gone" || len(got.GetAttributes()) != 3 {
		t.Errorf("got %v", got)
	}
}
