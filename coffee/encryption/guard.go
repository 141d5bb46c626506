package encryption

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.temporal.io/sdk/worker"

	"example.com/coffee/internal/sleep"
)

// Guard finds out whether a worker can read anything at all. A worker that cannot is the
// first to take each task, and no use for any. Its trial lasts until it has read something.
// A nil Guard watches nothing.
type Guard struct {
	// WorkflowType is the type of the workflows that count.
	WorkflowType string
	// Refused, unless nil, is called with the id of each workflow of which something could
	// not be read, and why.
	Refused func(workflowID string, err error)

	trial  context.Context // is over when something was read
	passed context.CancelFunc
	looked chan struct{} // closed when it has looked around once

	mu      sync.Mutex
	refused map[string]bool // ids of workflows
	err     error           // why the last one was refused
	last    time.Time       // when that was
}

const (
	// mostRefused is how many different workflows a worker refuses before it gives up. One or
	// two may be a stranger's.
	mostRefused = 3
	// lookAgain is how long a worker in its trial waits before it asks itself again whether
	// it has any use.
	lookAgain = time.Second
	// refusalPause is how long a worker in its trial does not poll after it has refused a
	// task. The order goes to another worker meanwhile. If it came back here, it would lose
	// ten seconds: the SDK answers only the first attempt at a task.
	refusalPause = time.Second
	// trialTasks is how many polls for workflow tasks it has. The SDK takes one for the
	// tasks of workflows that it has in its cache, and so has one for all others.
	trialTasks = 2
	// trialSteps is how many activities it takes at once: what it cannot read loses an
	// attempt.
	trialSteps = 1
	// defaultSlots is how many tasks of the other kinds a worker does at once, the SDK's
	// default.
	defaultSlots = 1000
)

// NewGuard returns a guard that watches workflows of a type.
func NewGuard(workflowType string) *Guard {
	g := &Guard{WorkflowType: workflowType, refused: map[string]bool{}, looked: make(chan struct{})}
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
	if workflowType == g.WorkflowType && g.trial.Err() == nil {
		g.err = err
		g.refused[workflowID] = true
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
// if there is anything. Orders that wait for an activity and for nothing else show only there
// that they can be read.
func (g *Guard) Wait(ctx context.Context, look func(context.Context) error) error {
	for looked := false; g.trial.Err() == nil; {
		g.mu.Lock()
		hopeless := len(g.refused) >= mostRefused
		g.mu.Unlock()
		if (hopeless || !looked) && look(ctx) == nil {
			if !looked {
				looked = true
				close(g.looked)
			}
			if err := g.Check(ctx); hopeless && err != nil {
				return fmt.Errorf("this worker can read no order: %w", err)
			}
		}
		if !sleep.For(ctx, lookAgain) {
			return nil
		}
	}
	<-ctx.Done()
	return nil
}

// Tuner returns the slots of a worker that runs at most that many activities at once. Until the worker
// has read something, it takes one workflow task and one activity at a time, and polls for no
// other activity once it has found something that it cannot read. So a worker with a wrong
// keyset costs one activity one attempt.
func (g *Guard) Tuner(activities int) (worker.WorkerTuner, error) {
	fixed, err := worker.NewFixedSizeTuner(worker.FixedSizeTunerOptions{
		NumWorkflowSlots: defaultSlots, NumActivitySlots: activities, NumLocalActivitySlots: defaultSlots, NumNexusSlots: defaultSlots,
	})
	if err != nil {
		return nil, err
	}
	return worker.NewCompositeTuner(worker.CompositeTunerOptions{
		WorkflowSlotSupplier:        slots{fixed.GetWorkflowTaskSlotSupplier(), g, make(chan struct{}, trialTasks), g.pause},
		ActivitySlotSupplier:        slots{fixed.GetActivityTaskSlotSupplier(), g, make(chan struct{}, trialSteps), g.hold},
		LocalActivitySlotSupplier:   fixed.GetLocalActivitySlotSupplier(),
		NexusSlotSupplier:           fixed.GetNexusSlotSupplier(),
		SessionActivitySlotSupplier: fixed.GetSessionActivitySlotSupplier(),
	})
}

// slots are those of a worker. In its trial, each needs one of a few places as well, and wait
// comes between the place and the poll.
type slots struct {
	worker.SlotSupplier
	guard  *Guard
	places chan struct{} // those that are taken
	wait   func(context.Context)
}

// ReserveSlot implements [worker.SlotSupplier].
func (s slots) ReserveSlot(ctx context.Context, info worker.SlotReservationInfo) (*worker.SlotPermit, error) {
	if s.guard.trial.Err() == nil {
		trial, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.guard.trial, cancel)()
		select {
		case s.places <- struct{}{}:
			s.wait(trial)
		case <-trial.Done():
		}
	}
	return s.SlotSupplier.ReserveSlot(ctx, info)
}

// pause waits, after a worker in its trial has refused a task, until it should take another.
func (g *Guard) pause(ctx context.Context) {
	g.mu.Lock()
	left := time.Until(g.last.Add(refusalPause))
	g.mu.Unlock()
	sleep.For(ctx, left)
}

// hold waits until a worker has looked around, and until the context ends if it has found
// something that it cannot read.
func (g *Guard) hold(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-g.looked:
		if g.Check(ctx) != nil {
			<-ctx.Done()
		}
	}
}

// TryReserveSlot implements [worker.SlotSupplier].
func (s slots) TryReserveSlot(info worker.SlotReservationInfo) *worker.SlotPermit {
	if s.guard.trial.Err() == nil {
		return nil
	}
	return s.SlotSupplier.TryReserveSlot(info)
}

// ReleaseSlot implements [worker.SlotSupplier].
func (s slots) ReleaseSlot(info worker.SlotReleaseInfo) {
	s.SlotSupplier.ReleaseSlot(info)
	select {
	case <-s.places:
	default: // it was reserved after the trial
	}
}
