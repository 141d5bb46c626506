package encryption

import (
	"context"
	"errors"
	"sync"
)

// Watch learns which tasks a worker could read. The zero value is ready to use.
type Watch struct {
	// Refused, unless nil, is called for each task that is given back. Hopeless is true
	// for an activity if the worker has not been able to read any task so far: an activity
	// was scheduled by another worker, and each one that comes to this one costs it an
	// attempt, so this one should stop.
	Refused func(err error, hopeless bool)

	mu  sync.Mutex
	has bool  // a task was read
	err error // why the last task was refused; nil if it was read
}

// read is told of a task that was read, if there was one.
func (w *Watch) read(token []byte) {
	if w == nil || len(token) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.has, w.err = true, nil
}

// refuse is told of a task that was given back.
func (w *Watch) refuse(err error, activity bool) {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.err = err
	var missing *MissingKeyError
	hopeless := activity && !w.has && errors.As(err, &missing)
	w.mu.Unlock()
	if w.Refused != nil {
		w.Refused(err, hopeless)
	}
}

// Check returns an error if the worker could not read the last task that it got, and has
// never read one.
func (w *Watch) Check(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.has {
		return nil
	}
	return w.err
}
