package operations

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Kind is what was asked of an order.
type Kind string

// The operations of clients, and those of operators.
const (
	Place  Kind = "place"
	Cancel Kind = "cancel"
	Status Kind = "status"
	Result Kind = "result"

	Terminate Kind = "terminate"
	Reset     Kind = "reset"
	Delete    Kind = "delete"
	// Request is Temporal's own request to cancel.
	Request Kind = "request cancel"
)

// The outcomes of operations, besides the statuses of orders.
const (
	OK       = "ok"
	Conflict = "conflict"
	Over     = "over"
	NotFound = "not found"
	// Wrong is an answer that no operation may get.
	Wrong = "wrong answer"
	// Unknown means that nobody knows what became of the operation.
	Unknown = ""
)

// Operation is what one client asked of one order. An operation that is tried again is
// another one.
type Operation struct {
	// ID distinguishes the operations of a journal.
	ID    string `json:"id"`
	Order string `json:"order"`
	Kind  Kind   `json:"kind"`
	// Request is what was ordered, if the operation places an order.
	Request string `json:"request,omitempty"`
	// Call and Return are when it was asked and answered, in nanoseconds of a clock
	// that all processes share. Return is 0 until then.
	Call   int64 `json:"call"`
	Return int64 `json:"return,omitempty"`
	// Outcome is the answer; [Unknown] until there is one.
	Outcome string `json:"outcome,omitempty"`
	// Problem says more about an outcome that should not be.
	Problem string `json:"problem,omitempty"`
}

// line is a line of a journal: an operation, when it begins and again when it ends, or
// a return to an earlier moment.
type line struct {
	*Operation
	Restored int64 `json:"restored,omitempty"`
}

// Journal appends operations to a file, which survives the process. It is safe for
// concurrent use.
type Journal struct {
	mu   sync.Mutex
	file *os.File
	now  func() int64
	// opened and next make the ids.
	opened int64
	next   int
}

// OpenJournal opens a journal for appending. now is the clock.
func OpenJournal(path string, now func() int64) (*Journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	// A process that was killed may have left half a line.
	info, err := file.Stat()
	if err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err = file.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			_, err = file.WriteString("\n")
		}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Journal{file: file, now: now, opened: now()}, nil
}

// Begin writes down that an operation begins. Its order, kind and request are given.
func (j *Journal) Begin(op Operation) (Operation, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.next++
	op.ID, op.Call = fmt.Sprintf("%d.%d", j.opened, j.next), j.now()
	return op, j.write(line{Operation: &op})
}

// End writes down how an operation ended.
func (j *Journal) End(op Operation, outcome, problem string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	op.Return, op.Outcome, op.Problem = j.now(), outcome, problem
	return j.write(line{Operation: &op})
}

// Restored writes down that all orders went back to what they were at a moment.
func (j *Journal) Restored(moment int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.write(line{Restored: moment})
}

func (j *Journal) write(l line) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = j.file.Write(append(data, '\n'))
	return err
}

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }

// Reader reads a journal while it is being written.
type Reader struct {
	path   string
	offset int64
	byID   map[string]int
	all    []Operation
}

// NewReader returns a reader of the journal at path, which need not exist yet.
func NewReader(path string) *Reader { return &Reader{path: path, byID: map[string]int{}} }

// Read returns the operations so far, in the order in which they began. The slice is
// the reader's own.
func (r *Reader) Read() ([]Operation, error) {
	file, err := os.Open(r.path)
	if errors.Is(err, os.ErrNotExist) {
		return r.all, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.NewSectionReader(file, r.offset, 1<<62))
	if err != nil {
		return nil, err
	}
	end := bytes.LastIndexByte(data, '\n') + 1 // what follows is still being written
	r.offset += int64(end)
	for text := range bytes.Lines(data[:end]) {
		var l line
		if json.Unmarshal(text, &l) != nil {
			continue // its writer was killed in the middle
		}
		r.add(l)
	}
	return r.all, nil
}

func (r *Reader) add(l line) {
	if l.Operation == nil {
		r.restore(l.Restored)
		return
	}
	if i, ok := r.byID[l.ID]; ok {
		r.all[i] = *l.Operation
		return
	}
	r.byID[l.ID] = len(r.all)
	r.all = append(r.all, *l.Operation)
}

// restore forgets the answers since a moment: what they said is no longer so, or may
// not be.
func (r *Reader) restore(moment int64) {
	for i := range r.all {
		if r.all[i].Return > moment {
			r.all[i].Return, r.all[i].Outcome = 0, Unknown
		}
	}
}
