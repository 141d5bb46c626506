// Package telemetry exposes how workers are: metrics for Prometheus, traces for
// OpenTelemetry, and a health check.
//
// metrics.go collects and serves metrics. orders.go counts what happens to orders; ledger.go
// and refunds.go add what only a worker can see. tracing.go makes one trace of an order's way
// through client, workflow, activities and ledger; valid.go keeps a text from losing it.
// health.go says whether a worker does its work.
package telemetry

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"

	"example.com/coffee/coffee"
)

// Metrics collects metrics in this process.
type Metrics struct {
	registry *prometheus.Registry
	meter    metric.Meter
}

// buckets are the upper bounds of the histograms of durations, in seconds. The longest
// are those of orders that are tried again, or wait for a worker.
var buckets = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// NewMetrics returns metrics that are empty, except for those of the process and the Go
// runtime.
func NewMetrics() (*Metrics, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo(), otelprometheus.WithoutTargetInfo())
	if err != nil {
		return nil, err
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter), sdkmetric.WithView(sdkmetric.NewView(
		sdkmetric.Instrument{Kind: sdkmetric.InstrumentKindHistogram, Unit: "s"},
		sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: buckets}},
	)))
	return &Metrics{registry: registry, meter: provider.Meter("example.com/coffee")}, nil
}

// Instrument makes a worker and its ledger measure what they do, and what becomes of the
// orders. The client of the worker needs the handler of the same metrics, which can be those
// of one worker only.
func (m *Metrics) Instrument(options *coffee.WorkerOptions) {
	ledger := newMeasured(options.Ledger)
	refunds := &refunds{now: time.Now, pending: map[string]pendingRefund{}}
	m.registry.MustRegister(append(refunds.gauges(), ledger.duration, ledger.errors)...)
	options.Ledger = ledger
	options.Interceptors = append(options.Interceptors, counter(refunds))
}

// Handler returns the handler for the options of a Temporal client. The SDK gives it to
// its workers, and they to workflows and activities.
func (m *Metrics) Handler() client.MetricsHandler {
	return bounded{opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
		Meter:                m.meter,
		UseMonotonicCounters: true,
		// Metrics are best effort: a failure must not stop an order.
		OnError: func(error) {},
	})}
}

// bounded bounds the number of metrics: whoever can start a workflow can make up types,
// and each would have metrics of its own.
type bounded struct{ client.MetricsHandler }

// WithTags implements [client.MetricsHandler].
func (b bounded) WithTags(tags map[string]string) client.MetricsHandler {
	tags = maps.Clone(tags)
	for _, tag := range []string{"workflow_type", "activity_type"} { // the SDK's names; "none" is its value where there is no type
		if kind, ok := tags[tag]; ok && kind != "none" && !slices.Contains(Types(), kind) {
			tags[tag] = "other"
		}
	}
	return bounded{b.MetricsHandler.WithTags(tags)}
}

// ServeHTTP implements [http.Handler]: it serves the metrics in the format that the
// client asks for.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}
