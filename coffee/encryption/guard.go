package encryption

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Guard finds out whether a worker can read anything at all. A worker that cannot is the
// first to take each task, and no use for any. Its trial lasts until it has read something.
type Guard struct {
	// WorkflowType is the type of the workflows that count.
	WorkflowType string
	// Refused, unless nil, is called with the id of each workflow of which something could
	// not be read, and why.
	Refused func(workflowID string, err error)

	trial    context.Context // is over when something was read
	passed   context.CancelFunc
	hopeless chan struct{} // has a value once mostRefused were refused in the trial

	looked chan struct{} // closed when it has looked around once

	mu      sync.Mutex
	refused map[string]bool // ids of workflows
	err     error           // why the last one was refused
	last    time.Time       // when that was
}

// mostRefused is how many different workflows a worker refuses before it gives up. One or
// two may be a stranger's.
const mostRefused = 3

// lookAgain is how long to wait before another look if the server is away.
const lookAgain = time.Second

// NewGuard returns a guard that watches workflows of a type.
func NewGuard(workflowType string) *Guard {
	g := &Guard{WorkflowType: workflowType, refused: map[string]bool{}, hopeless: make(chan struct{}, 1), looked: make(chan struct{})}
	g.trial, g.passed = context.WithCancel(context.Background())
	return g
}

// read is told that something was read.
func (g *Guard) read() {
	if g != nil {
		g.passed()
	}
}

// missed is told that something was found that no task depends on, and could not be read.
func (g *Guard) missed(err error) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = err
}

// refuse is told that something of a workflow could not be read.
func (g *Guard) refuse(workflowType, workflowID string, err error) {
	if g == nil {
		return
	}
	if g.Refused != nil {
		g.Refused(workflowID, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = time.Now()
	if workflowType != g.WorkflowType {
		return
	}
	g.err = err
	if g.refused[workflowID] = true; len(g.refused) < mostRefused {
		return
	}
	clear(g.refused)
	select {
	case g.hopeless <- struct{}{}:
	default:
	}
}

// Check returns an error while there is something that the worker cannot read, and it has
// never read anything.
func (g *Guard) Check(context.Context) error {
	if g.trial.Err() != nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// Wait returns nil when the context ends, and an error when the worker should stop: it has
// refused three different workflows, and read nothing. At first, and before it returns that
// error, it calls look, which reads something else that the worker should be able to read,
// if there is anything.
func (g *Guard) Wait(ctx context.Context, look func(context.Context) error) error {
	// Orders that wait for an activity and for nothing else show only here that they can be
	// read.
	for look(ctx) != nil && g.trial.Err() == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookAgain):
		}
	}
	close(g.looked)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.hopeless:
		}
		if look(ctx) != nil {
			continue // the server is away: others will be refused
		}
		if err := g.Check(ctx); err != nil {
			return fmt.Errorf("this worker can read no order: %w", err)
		}
	}
}
