package monitor

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
	"example.com/coffee/commands/internal/background"
	"example.com/coffee/commands/internal/connect"
)

// TestNotReadyWithoutTheLedger: a worker whose ledger takes no entries is not ready, and its
// log says once why, and once that it is over.
func TestNotReadyWithoutTheLedger(t *testing.T) {
	t.Parallel()
	var tasks background.Tasks
	m, err := Open(&tasks, "127.0.0.1:0", &connect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tasks.Stop()
	var log bytes.Buffer
	store, err := ledger.OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	broken := &readiness{Store: store}
	options := coffee.WorkerOptions{Log: zerolog.New(&log), Ledger: broken}
	m.InstrumentWorker(&options, broken)
	check := m.checks[len(m.checks)-1]
	for _, broken.err = range []error{nil, errors.New("disk full"), errors.New("disk full"), nil, nil} {
		if err := check(context.Background()); (err == nil) != (broken.err == nil) {
			t.Errorf("got %v, want %v", err, broken.err)
		}
	}
	if got := log.String(); strings.Count(got, "disk full") != 1 || strings.Count(got, "takes entries again") != 1 {
		t.Errorf("got %s", got)
	}
}

// readiness is a ledger that may not be ready.
type readiness struct {
	ledger.Store
	err error
}

func (r *readiness) Ready(context.Context) error { return r.err }
