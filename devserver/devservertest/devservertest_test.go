package devservertest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/goleak"

	"example.com/coffee/devserver"
	"example.com/coffee/devserver/devservertest"
)

func attempt(ctx context.Context) int32 { return activity.GetInfo(ctx).Attempt }

// eventually waits until something is so.
func eventually(t *testing.T, so func() bool) {
	t.Helper()
	for !so() {
		select {
		case <-t.Context().Done():
			t.Fatal("the test ends, and still it is not so")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// scope is a test within a test, whose end is looked at.
type scope struct {
	testing.TB
	ctx      context.Context // done when the test is over, before the cleanups
	failed   bool
	cleanups []func()
	mu       sync.Mutex
	log      bytes.Buffer
}

// within runs f as a test of its own, to its very end.
func within(t testing.TB, f func(*scope)) *scope {
	ctx, cancel := context.WithCancel(context.Background())
	s := &scope{TB: t, ctx: ctx}
	defer func() {
		cancel()
		for _, cleanup := range slices.Backward(s.cleanups) {
			cleanup()
		}
	}()
	f(s)
	return s
}

func (s *scope) Failed() bool                { return s.failed }
func (s *scope) Context() context.Context    { return s.ctx }
func (s *scope) Helper()                     {}
func (s *scope) Cleanup(f func())            { s.cleanups = append(s.cleanups, f) }
func (s *scope) Errorf(f string, a ...any)   { s.failed = true; s.Logf(f, a...) }
func (s *scope) Logf(f string, a ...any)     { fmt.Fprintf(s, f+"\n", a...) }
func (s *scope) Output() io.Writer           { return s }
func (s *scope) Write(p []byte) (int, error) { s.mu.Lock(); defer s.mu.Unlock(); return s.log.Write(p) }

var errNoMilk = errors.New("no milk")

// TestReport: a test that fails shows what has not ended, and only that; one that does not
// fail shows nothing.
func TestReport(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{true, false} {
		test := within(t, func(sc *scope) {
			s := devservertest.Start(sc)
			s.Worker("q", func(r worker.Registry) {
				r.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
					ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
					return workflow.ExecuteActivity(ctx, "steam").Get(ctx, nil)
				}, workflow.RegisterOptions{Name: "hangs"})
				r.RegisterWorkflowWithOptions(func(workflow.Context) error { return nil }, workflow.RegisterOptions{Name: "ends"})
				r.RegisterActivityWithOptions(func(context.Context) error { return errNoMilk }, activity.RegisterOptions{Name: "steam"})
			})
			ended, err := s.Client().ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "fine", TaskQueue: "q"}, "ends")
			if err := errors.Join(err, ended.Get(t.Context(), nil)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Client().ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "stuck", TaskQueue: "q"}, "hangs"); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() bool {
				described, err := s.Client().DescribeWorkflowExecution(t.Context(), "stuck", "")
				return err == nil && len(described.GetPendingActivities()) == 1 && described.GetPendingActivities()[0].GetAttempt() > 1
			})
			sc.failed = fails
		})
		told := test.log.String()
		for _, want := range []string{"this workflow has not ended:\nstuck: hangs, running for ", "no milk"} {
			if i := strings.Index(told, "has not ended"); fails && !strings.Contains(told[max(0, i-20):], want) {
				t.Errorf("%q is missing:\n%s", want, told)
			}
		}
		if strings.Contains(told, "has not ended") != fails || strings.Contains(told, "fine") {
			t.Errorf("a test of which it is %t that it failed says:\n%s", fails, told)
		}
	}
}

// TestNothingLeft: a test leaves no goroutine and no open file.
func TestNothingLeft(t *testing.T) {
	files := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("only Linux says which files are open")
		}
		return len(entries)
	}
	greet := func() {
		within(t, func(sc *scope) { greetIn(t, devservertest.Start(sc)) })
	}
	greet() // what a process makes once
	before := files()
	defer func() {
		if after := files(); after != before {
			t.Errorf("%d files are open, and %d were before", after, before)
		}
	}()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	greet()
}

// greetIn runs a workflow on a server.
func greetIn(t testing.TB, s *devservertest.Server) {
	t.Helper()
	s.Worker("greetings", register)
	greeted(t, s.Client())
}

func register(r worker.Registry) {
	r.RegisterWorkflowWithOptions(func(ctx workflow.Context) (greeting string, err error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
		err = workflow.ExecuteActivity(ctx, sayHello, "you").Get(ctx, &greeting)
		return greeting, err
	}, workflow.RegisterOptions{Name: "greet"})
	r.RegisterActivity(sayHello)
}

func greeted(t testing.TB, c client.Client) {
	t.Helper()
	run, err := c.ExecuteWorkflow(context.Background(), client.StartWorkflowOptions{TaskQueue: "greetings"}, "greet")
	if err != nil {
		t.Error(err)
		return
	}
	var greeting string
	if err := run.Get(context.Background(), &greeting); err != nil || greeting != "hello you" {
		t.Errorf("the greeting is %q, %v", greeting, err)
	}
}

// TestManyServers: tests that run in parallel, each with a server of its own, share nothing.
// BenchmarkTests has 200 of them.
func TestManyServers(t *testing.T) {
	t.Parallel()
	for i := range 20 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			s := devservertest.Start(t)
			greetIn(t, s)
			listed, err := s.Client().CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{})
			if err != nil || listed.GetCount() != 1 {
				t.Errorf("there are %d workflows, %v", listed.GetCount(), err)
			}
		})
	}
}

// TestVirtualTime: in a bubble the whole server waits for nothing, and an hour takes a second.
func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := devservertest.Start(t, func(o *devserver.Options) { o.InProcess = true })
		s.Worker("hours", func(r worker.Registry) {
			r.RegisterWorkflowWithOptions(func(ctx workflow.Context) error { return workflow.Sleep(ctx, time.Hour) }, workflow.RegisterOptions{Name: "hour"})
		})
		began := time.Now()
		run, err := s.Client().ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: "hours"}, "hour")
		if err := errors.Join(err, run.Get(t.Context(), nil)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began).Truncate(time.Minute); took != time.Hour {
			t.Errorf("an hour took %v", took)
		}
	})
}
