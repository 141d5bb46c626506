//go:build unix

package devservertest_test

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/server/temporaltest"
	"google.golang.org/protobuf/types/known/durationpb"

	"example.com/coffee/devserver"
	"example.com/coffee/devserver/devservertest"
)

// BenchmarkTests measures a test that runs a workflow, eight of them at a time: each with a
// server of its own, with one of Temporal's package temporaltest, and with a namespace of a
// server that all share. Each is to be run in a process of its own; peak-MiB is all that it has
// taken.
func BenchmarkTests(b *testing.B) {
	ways := map[string]func(testing.TB) func(*scope){
		"own": func(testing.TB) func(*scope) {
			return func(sc *scope) { greetIn(sc, devservertest.Start(sc)) }
		},
		"temporaltest": func(testing.TB) func(*scope) {
			return func(sc *scope) {
				s := temporaltest.NewServer()
				defer s.Stop()
				s.NewWorker("greetings", register)
				greeted(sc, s.GetDefaultClient())
			}
		},
		"shared": func(tb testing.TB) func(*scope) {
			s := devservertest.Start(tb, func(o *devserver.Options) {
				o.DynamicConfig = map[string]any{"frontend.rps.namespaceReplicationInducingAPIs": 1000000, "frontend.namespaceRPS.namespaceReplicationInducingAPIs": 1000000}
			})
			var names atomic.Int64
			return func(sc *scope) {
				options := s.ClientOptions()
				options.Namespace = fmt.Sprint("test-", names.Add(1))
				_, err := s.Client().WorkflowService().RegisterNamespace(sc.Context(), &workflowservice.RegisterNamespaceRequest{Namespace: options.Namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)})
				if err != nil {
					sc.Fatal(err)
				}
				options.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
				c, err := client.Dial(options)
				if err != nil {
					sc.Fatal(err)
				}
				defer c.Close()
				w := worker.New(c, "greetings", worker.Options{})
				register(w)
				if err := w.Start(); err != nil {
					sc.Fatal(err)
				}
				defer w.Stop()
				greeted(sc, c)
			}
		},
	}
	for name, way := range ways {
		b.Run(name, func(b *testing.B) {
			test := way(b)
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					within(b, test)
				}
			})
			var usage syscall.Rusage
			if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(usage.Maxrss)/1024, "peak-MiB")
			b.ReportMetric(float64(time.Duration(usage.Utime.Nano()+usage.Stime.Nano()).Milliseconds())/float64(b.N), "cpu-ms/test")
		})
	}
}
