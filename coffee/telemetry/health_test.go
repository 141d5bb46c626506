package telemetry

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
)

var errSilent = errors.New("the ledger does not answer")

func TestHealth(t *testing.T) {
	t.Parallel()
	var fails error
	h := Health(func(ctx context.Context) error {
		if fails == errSilent {
			<-ctx.Done() // a ledger that does not answer
		}
		return fails
	})
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	check := func(path string, status int, text string) {
		t.Helper()
		if code, body := get(path); code != status || body != text {
			t.Errorf("%s: %d %s, want %d %s", path, code, body, status, text)
		}
	}
	check("/healthz", 200, "ok")
	check("/readyz", 200, "ok")
	fails = errors.New("the worker does not poll yet")
	check("/readyz", 503, "the worker does not poll yet")
	check("/healthz", 200, "ok") // or it would be restarted for nothing
	fails = errSilent
	check("/readyz", 503, "the ledger does not answer")
	check("/other", 404, "404 page not found")
}

// TestPolls: a worker polls from its first poll on, until one fails, and again when one
// has succeeded or has been in flight for a second.
func TestPolls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p Polls
		poll := func(kind string) (end func(error)) {
			ended := make(chan error)
			go func() {
				_ = p.intercept(context.Background(), "/temporal.api.workflowservice.v1.WorkflowService/"+kind, nil, nil, nil,
					func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return <-ended })
			}()
			synctest.Wait()
			return func(err error) {
				ended <- err
				synctest.Wait()
			}
		}
		polls := func(want bool) {
			t.Helper()
			if err := p.Check(context.Background()); (err == nil) != want {
				t.Errorf("it polls: %v", err)
			}
		}
		polls(false)
		endWorkflow := poll("PollWorkflowTaskQueue")
		polls(false) // it does not poll for activities
		endActivity := poll("PollActivityTaskQueue")
		polls(true)
		endActivity(nil) // all slots are taken
		polls(true)
		endWorkflow(errors.New("connection refused"))
		polls(false)
		endWorkflow = poll("PollWorkflowTaskQueue")
		polls(false) // it may fail as well
		endWorkflow(errors.New("connection refused"))
		polls(false)
		endWorkflow = poll("PollWorkflowTaskQueue")
		time.Sleep(1100 * time.Millisecond) // of the test's own clock
		polls(true)
		endWorkflow(nil)
		polls(true)
	})
}
