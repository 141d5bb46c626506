// Package devservertest gives each test a Temporal server of its own, which ends with the
// test:
//
//	func TestGreeting(t *testing.T) {
//		s := devservertest.Start(t)
//		s.Worker("greetings", func(r worker.Registry) {
//			r.RegisterWorkflow(greetLater)
//			r.RegisterActivity(sayHello)
//		})
//		run, err := s.Client().ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: "greetings"}, greetLater, "you")
//		…
//	}
//
// When the test fails, the timeline of each workflow that has not ended is in its log, with
// what is pending and why that failed last.
package devservertest

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"google.golang.org/grpc"

	"example.com/coffee/devserver"
)

// Server is the server of a test.
type Server struct {
	*devserver.Server
	t testing.TB

	mu     sync.Mutex
	client client.Client // nil until it is needed
}

// Start starts a server in memory, whose clients may skip time, and stops it when the test
// and its subtests have ended. Its messages, from warnings on, are in the log of the test.
// configure changes its options. If it does not start, the test fails at once.
func Start(t testing.TB, configure ...func(*devserver.Options)) *Server {
	t.Helper()
	options := devserver.Options{TimeSkipping: true, Log: zerolog.New(zerolog.ConsoleWriter{Out: t.Output(), NoColor: true, PartsExclude: []string{zerolog.TimestampFieldName}}).Level(zerolog.WarnLevel)}
	for _, f := range configure {
		f(&options)
	}
	server, err := devserver.Start(t.Context(), options)
	if err != nil {
		t.Fatalf("the Temporal server does not start: %v", err)
	}
	s := &Server{Server: server, t: t}
	t.Cleanup(func() {
		if t.Failed() {
			s.report()
		}
		if s.client != nil {
			s.client.Close()
		}
		if err := server.Stop(); err != nil {
			t.Errorf("the Temporal server does not stop: %v", err)
		}
	})
	return s
}

// Client returns the client of the test, which ends with it. Everybody gets the same one.
func (s *Server) Client() client.Client {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		s.client = s.dial()
	}
	return s.client
}

// SkipTime returns a client whose workflows skip time, and their children: timers, and the
// pauses before an activity is tried again, take none, and the workflow's clock says that they
// have passed. It ends with the test.
func (s *Server) SkipTime() client.Client {
	s.t.Helper()
	c := s.dial(devserver.SkipTime())
	s.t.Cleanup(c.Close)
	return c
}

func (s *Server) dial(more ...grpc.DialOption) client.Client {
	s.t.Helper()
	options := s.ClientOptions()
	options.Logger = log.NewStructuredLogger(slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	options.ConnectionOptions.DialOptions = slices.Concat(more, options.ConnectionOptions.DialOptions)
	c, err := client.DialContext(context.WithoutCancel(s.t.Context()), options)
	if err != nil {
		s.t.Fatalf("the Temporal server does not answer: %v", err)
	}
	return c
}

// Worker starts a worker for a task queue, with what register registers, and stops it when
// the test ends, before the server. A workflow that panics, or does not do again what its
// history says, fails: in production it waits for a worker that is mended, and so would the
// test. configure changes these options. If the worker does not start, the test fails at once;
// if it ends by itself later, the test fails.
func (s *Server) Worker(taskQueue string, register func(worker.Registry), configure ...func(*worker.Options)) worker.Worker {
	s.t.Helper()
	options := worker.Options{WorkflowPanicPolicy: worker.FailWorkflow, OnFatalError: func(err error) { s.t.Errorf("the worker of %s has ended: %v", taskQueue, err) }}
	for _, f := range configure {
		f(&options)
	}
	w := worker.New(s.Client(), taskQueue, options)
	register(w)
	if err := w.Start(); err != nil {
		s.t.Fatalf("the worker of %s does not start: %v", taskQueue, err)
	}
	s.t.Cleanup(w.Stop)
	return w
}
