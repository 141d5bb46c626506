package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// Health says whether a process does its work. Checks are asked in turn.
type Health struct {
	// Checks return nil if something that the work needs is there.
	Checks []func(context.Context) error
}

// checkTimeout bounds how long all checks together may take. Kubernetes waits for a
// second by default.
const checkTimeout = 900 * time.Millisecond

// Handler serves /healthz, which says that the process is alive, and /readyz, which says
// that it does its work, or why not, with status 503.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
		defer cancel()
		for _, check := range h.Checks {
			if err := check(ctx); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}

// Polls watches the polls of a worker. The zero value is ready to use.
type Polls struct {
	mu    sync.Mutex
	kinds map[string]*poller
}

// poller is what is known about the polls of a kind.
type poller struct {
	inFlight int
	// failed is when a poll failed, if none has succeeded since.
	failed time.Time
	// began is when the last poll began.
	began time.Time
}

// settled is how long a poll has to be in flight after another one failed to show that
// the server is back: otherwise it would have failed as well.
const settled = time.Second

const (
	pollWorkflowTasks = "PollWorkflowTaskQueue"
	pollActivities    = "PollActivityTaskQueue"
)

// DialOption watches the polls of a connection.
func (p *Polls) DialOption() grpc.DialOption { return grpc.WithChainUnaryInterceptor(p.intercept) }

func (p *Polls) intercept(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	kind := method[strings.LastIndexByte(method, '/')+1:]
	if kind != pollWorkflowTasks && kind != pollActivities {
		return invoke(ctx, method, request, reply, conn, options...)
	}
	p.begin(kind)
	err := invoke(ctx, method, request, reply, conn, options...)
	p.end(kind, err)
	return err
}

func (p *Polls) begin(kind string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kinds == nil {
		p.kinds = map[string]*poller{}
	}
	if p.kinds[kind] == nil {
		p.kinds[kind] = &poller{}
	}
	p.kinds[kind].inFlight++
	p.kinds[kind].began = time.Now()
}

func (p *Polls) end(kind string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kinds[kind].inFlight--
	switch {
	case err == nil:
		p.kinds[kind].failed = time.Time{}
	case p.kinds[kind].failed.IsZero():
		p.kinds[kind].failed = time.Now()
	}
}

// Check returns an error unless the worker polls for workflow tasks and for activities.
// It fits [Health.Checks].
func (p *Polls) Check(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, kind := range []string{pollWorkflowTasks, pollActivities} {
		poller := p.kinds[kind]
		switch {
		case poller == nil:
			return errors.New("the worker does not poll yet")
		case !poller.failed.IsZero() && (poller.inFlight == 0 || time.Since(poller.began) < settled):
			return fmt.Errorf("the worker's polls have failed since %s", poller.failed.UTC().Format(time.RFC3339))
		}
	}
	return nil
}
