package encryption

import (
	"context"
	"time"

	"go.temporal.io/sdk/worker"
)

const (
	// workflowSlots is how many workflow tasks a worker does at once, the SDK's default.
	workflowSlots = 1000
	// trialSlots is how many slots a worker has for polls for workflow tasks until it has
	// read something. The SDK takes one for the tasks of workflows that it has in its cache,
	// and so has one for all others.
	trialSlots = 2
	// trialSteps is how many activities such a worker takes at once: what it cannot read
	// loses an attempt.
	trialSteps = 1
	// refusalPause is how long such a worker does not poll after it has refused a task. The
	// order goes to another worker meanwhile. If it came back here, it would lose ten seconds:
	// the SDK answers only the first attempt at a task.
	refusalPause = time.Second
)

// Tuner returns the slots of a worker that runs so many activities at once. Until the worker
// has read something, it takes one workflow task and one activity at a time, and polls for no
// other activity once it has found something that it cannot read. So a worker with a wrong
// keyset costs one activity one attempt.
func (g *Guard) Tuner(activities int) (worker.WorkerTuner, error) {
	var made error
	fixed := func(size int) worker.SlotSupplier {
		supplier, err := worker.NewFixedSizeSlotSupplier(size)
		if err != nil {
			made = err
		}
		return supplier
	}
	options := worker.CompositeTunerOptions{
		WorkflowSlotSupplier:        slots{fixed(workflowSlots), fixed(trialSlots), g.pause, g},
		ActivitySlotSupplier:        slots{fixed(activities), fixed(trialSteps), g.hold, g},
		LocalActivitySlotSupplier:   fixed(workflowSlots),
		NexusSlotSupplier:           fixed(workflowSlots),
		SessionActivitySlotSupplier: fixed(activities),
	}
	if made != nil {
		return nil, made
	}
	return worker.NewCompositeTuner(options)
}

// slots are those of a worker that has read something; the trial's are those before, and
// wait is what comes between such a slot and its poll.
type slots struct {
	worker.SlotSupplier
	trial worker.SlotSupplier
	wait  func(context.Context)
	guard *Guard
}

// ReserveSlot implements [worker.SlotSupplier].
func (s slots) ReserveSlot(ctx context.Context, info worker.SlotReservationInfo) (*worker.SlotPermit, error) {
	if permit := s.reserveTrial(ctx, info); permit != nil {
		return permit, nil
	}
	return s.SlotSupplier.ReserveSlot(ctx, info)
}

// reserveTrial waits for a slot of the trial. It returns nil once the trial is over.
func (s slots) reserveTrial(ctx context.Context, info worker.SlotReservationInfo) *worker.SlotPermit {
	if s.guard.trial.Err() != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.guard.trial, cancel)()
	permit, err := s.trial.ReserveSlot(ctx, info)
	if err != nil {
		return nil
	}
	permit.UserData = s.trial
	s.wait(ctx)
	return permit
}

// pause waits, after a worker in its trial has refused a task, until it should take another.
func (g *Guard) pause(ctx context.Context) {
	g.mu.Lock()
	left := time.Until(g.last.Add(refusalPause))
	g.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(left):
	}
}

// hold waits until a worker has looked around, and until the context ends if it has found
// something that it cannot read.
func (g *Guard) hold(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-g.looked:
	}
	if g.Check(ctx) != nil {
		<-ctx.Done()
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
	if trial, ok := info.Permit().UserData.(worker.SlotSupplier); ok {
		trial.ReleaseSlot(info)
		return
	}
	s.SlotSupplier.ReleaseSlot(info)
}
