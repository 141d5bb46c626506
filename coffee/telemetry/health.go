package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// checkTimeout bounds how long a check may take. Kubernetes waits for a second by default.
const checkTimeout = 900 * time.Millisecond

// Health serves /healthz, which says that the process is alive, and /readyz, which says that
// it does its work, or with status 503 why not, as ready says.
func Health(ready func(context.Context) error) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
		defer cancel()
		if err := ready(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}

// Polls watches the polls of a worker. The zero value is ready to use.
type Polls struct {
	mu    sync.Mutex
	kinds [2]poller // as in polls
}

// polls are the methods that every worker calls all the time.
var polls = []string{"PollWorkflowTaskQueue", "PollActivityTaskQueue"}

// poller is what is known about the polls of a kind.
type poller struct {
	inFlight int
	began    time.Time // when the last one began
	failed   time.Time // when one failed, if none has succeeded since
}

// settled is how long a poll has to be in flight after another one failed to show that
// the server is back: otherwise it would have failed as well.
const settled = time.Second

// DialOption watches the polls of a connection.
func (p *Polls) DialOption() grpc.DialOption { return grpc.WithChainUnaryInterceptor(p.intercept) }

func (p *Polls) intercept(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	kind := slices.Index(polls, path.Base(method))
	if kind < 0 {
		return invoke(ctx, method, request, reply, conn, options...)
	}
	poller := &p.kinds[kind]
	p.mu.Lock()
	poller.inFlight++
	poller.began = time.Now()
	p.mu.Unlock()
	err := invoke(ctx, method, request, reply, conn, options...)
	p.mu.Lock()
	defer p.mu.Unlock()
	poller.inFlight--
	switch {
	case err == nil:
		poller.failed = time.Time{}
	case poller.failed.IsZero():
		poller.failed = time.Now()
	}
	return err
}

// Check returns an error unless the worker polls for workflow tasks and for activities.
func (p *Polls) Check(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, poller := range p.kinds {
		switch {
		case poller.began.IsZero():
			return errors.New("the worker does not poll yet")
		case !poller.failed.IsZero() && (poller.inFlight == 0 || time.Since(poller.began) < settled):
			return fmt.Errorf("the worker's polls have failed since %s", poller.failed.UTC().Format(time.RFC3339))
		}
	}
	return nil
}
