package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

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

// TestValidSpans: one text that is not UTF-8 would lose all spans that are sent with it.
func TestValidSpans(t *testing.T) {
	t.Parallel()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(validExporter{exporter}))
	_, span := provider.Tracer("test").Start(context.Background(), "caf\xe9")
	span.SetAttributes(attribute.String("db.statement", "\xff"), attribute.Int("rows", 1))
	span.RecordError(errors.New("caf\xe9 is gone"))
	span.SetStatus(codes.Error, "caf\xe9 is gone")
	span.End()
	spans := exporter.GetSpans()
	if len(spans) != 1 {
		t.Fatalf("got %v", spans)
	}
	got := spans[0]
	texts := []string{got.Name, got.Status.Description}
	for _, attributes := range [][]attribute.KeyValue{got.Attributes, got.Events[0].Attributes} {
		for _, a := range attributes {
			texts = append(texts, a.Value.String())
		}
	}
	for _, text := range texts {
		if !utf8.ValidString(text) {
			t.Errorf("%q was sent", text)
		}
	}
	if got.Name != "caf\ufffd" || got.Status.Code != codes.Error || len(got.Attributes) != 2 {
		t.Errorf("got %+v", got)
	}
}
