package operations

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func op(kind Kind, request, outcome string, call, returned int64) Operation {
	return Operation{Order: "1", Kind: kind, Request: request, Outcome: outcome, Call: call, Return: returned}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		ops  []Operation
		ok   bool
	}{
		{"completed", []Operation{op(Place, "latte", OK, 1, 2), op(Status, "", Running, 3, 4), op(Result, "", Completed, 1, 9)}, true},
		{"joined", []Operation{op(Place, "latte", OK, 1, 2), op(Place, "latte", OK, 3, 4)}, true},
		{"two drinks under one id", []Operation{op(Place, "latte", OK, 1, 2), op(Place, "mocha", OK, 3, 4)}, false},
		{"a conflict with nothing", []Operation{op(Place, "latte", Conflict, 1, 2)}, false},
		{"a conflict with itself", []Operation{op(Place, "latte", OK, 1, 2), op(Place, "latte", Conflict, 3, 4)}, false},
		{"a conflict that won", []Operation{op(Place, "latte", Conflict, 1, 4), op(Place, "mocha", OK, 2, 3)}, true},
		{"not found after it was accepted", []Operation{op(Place, "latte", OK, 1, 2), op(Status, "", NotFound, 3, 4)}, false},
		{"not found while it was placed", []Operation{op(Place, "latte", OK, 1, 4), op(Status, "", NotFound, 2, 3)}, true},
		{"cancelled", []Operation{op(Place, "latte", OK, 1, 2), op(Cancel, "", OK, 3, 4), op(Result, "", Cancelled, 1, 9)}, true},
		{"cancelled by nobody", []Operation{op(Place, "latte", OK, 1, 2), op(Result, "", Cancelled, 3, 9)}, false},
		{"cancelled before it was asked to", []Operation{op(Place, "latte", OK, 1, 2), op(Status, "", Cancelled, 3, 4), op(Cancel, "", OK, 5, 6)}, false},
		{"cancelled by a request without an answer", []Operation{op(Place, "latte", OK, 1, 2), op(Cancel, "", Unknown, 3, 0), op(Result, "", Cancelled, 4, 9)}, true},
		{"too late", []Operation{op(Place, "latte", OK, 1, 2), op(Cancel, "", Over, 3, 4), op(Result, "", Completed, 5, 9)}, true},
		{"running again", []Operation{op(Place, "latte", OK, 1, 2), op(Status, "", Completed, 3, 4), op(Status, "", Running, 5, 6)}, false},
		{"ended twice", []Operation{op(Place, "latte", OK, 1, 2), op(Status, "", Completed, 3, 4), op(Result, "", Failed, 5, 6)}, false},
		{"running again after a reset", []Operation{op(Place, "latte", OK, 1, 2), op(Status, "", Completed, 3, 4), op(Reset, "", OK, 5, 6), op(Status, "", Running, 7, 8)}, true},
		{"terminated", []Operation{op(Place, "latte", OK, 1, 2), op(Terminate, "", OK, 3, 4), op(Result, "", Terminated, 5, 6)}, true},
		{"terminated, and told that it is over", []Operation{op(Place, "latte", OK, 1, 2), op(Terminate, "", Over, 3, 4), op(Result, "", Terminated, 5, 6)}, true},
		{"cancelled, and told that it is over", []Operation{op(Place, "latte", OK, 1, 2), op(Request, "", Over, 3, 4), op(Result, "", Cancelled, 5, 6)}, true},
		{"terminated, and then cancelled by an operator", []Operation{op(Place, "latte", OK, 1, 2), op(Terminate, "", OK, 3, 4), op(Request, "", OK, 5, 6), op(Result, "", Terminated, 7, 8)}, true},
		{"terminated, and then cancelled by a client", []Operation{op(Place, "latte", OK, 1, 2), op(Terminate, "", OK, 3, 4), op(Cancel, "", OK, 5, 6), op(Result, "", Terminated, 7, 8)}, false},
		{"terminated by nobody", []Operation{op(Place, "latte", OK, 1, 2), op(Result, "", Terminated, 5, 6)}, false},
		{"placed, but nobody knows", []Operation{op(Place, "latte", Unknown, 1, 0), op(Status, "", NotFound, 2, 3), op(Status, "", Running, 4, 5)}, true},
		{"invalid", []Operation{op(Place, Invalid, OK, 1, 2), op(Result, "", Ended, 3, 4)}, true},
		{"invalid, and cancelled", []Operation{op(Place, Invalid, OK, 1, 2), op(Request, "", OK, 3, 4), op(Result, "", Cancelled, 5, 6)}, true},
		{"invalid, and cancelled by nobody", []Operation{op(Place, Invalid, OK, 1, 2), op(Result, "", Cancelled, 5, 6)}, false},
		{"invalid, and made", []Operation{op(Place, Invalid, OK, 1, 2), op(Result, "", Completed, 3, 4)}, false},
		{"valid, and refused", []Operation{op(Place, "latte", OK, 1, 2), op(Result, "", Ended, 3, 4)}, false},
		{"a wrong answer", []Operation{op(Place, "latte", Wrong, 1, 2)}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			violated, undecided := Check(test.ops, nil)
			if len(undecided) != 0 || (len(violated) == 0) != test.ok {
				t.Errorf("violated %q, undecided %q", violated, undecided)
			}
			var page bytes.Buffer
			if err := Draw(&page, test.ops, "1"); err != nil || !strings.Contains(page.String(), "<html") {
				t.Errorf("drew %d bytes, %v", page.Len(), err)
			}
			if violated, _ := Check(test.ops, func(string) bool { return true }); len(violated) != 0 {
				t.Errorf("skipped, and %q", violated)
			}
		})
	}
}

// TestManyWithoutAnswers: a client that asks and asks while the server is away does not
// make the check hopeless.
func TestManyWithoutAnswers(t *testing.T) {
	t.Parallel()
	ops := []Operation{op(Place, "latte", OK, 1, 2)}
	for i := range int64(200) {
		ops = append(ops, op(Cancel, "", Unknown, 3+i, 0), op(Status, "", Unknown, 3+i, 0), op(Place, "latte", Unknown, 3+i, 0))
	}
	right := append(slices.Clone(ops), op(Status, "", Cancelled, 300, 301), op(Reset, "", OK, 302, 303), op(Result, "", Cancelled, 304, 305))
	if violated, undecided := Check(right, nil); len(violated)+len(undecided) != 0 {
		t.Errorf("violated %q, undecided %q", violated, undecided)
	}
	wrong := append(slices.Clone(ops), op(Status, "", Failed, 300, 301), op(Result, "", Cancelled, 302, 303))
	if violated, undecided := Check(wrong, nil); len(violated) != 1 || len(undecided) != 0 {
		t.Errorf("violated %q, undecided %q", violated, undecided)
	}
}

// TestJournal: a journal survives its writer, half a line, and a return to a backup.
func TestJournal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	clock := int64(0)
	now := func() int64 { clock++; return clock }
	reader := NewReader(path)
	want := func(want ...string) {
		t.Helper()
		all, err := reader.Read()
		var got []string
		for _, op := range all {
			got = append(got, string(op.Kind)+" "+op.Outcome)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	want()
	j, err := OpenJournal(path, now)
	if err != nil {
		t.Fatal(err)
	}
	begin := func(kind Kind) Operation {
		t.Helper()
		op, err := j.Begin(Operation{Order: "1", Kind: kind, Request: "latte"})
		if err != nil {
			t.Fatal(err)
		}
		return op
	}
	end := func(op Operation, outcome string) {
		t.Helper()
		if err := j.End(op, outcome, ""); err != nil {
			t.Fatal(err)
		}
	}
	place := begin(Place)
	want("place ")
	end(place, OK)
	want("place ok")
	moment := clock
	cancel := begin(Cancel)
	if _, err := j.file.WriteString(`{"id":"1.2","ord`); err != nil {
		t.Fatal(err)
	}
	want("place ok", "cancel ")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if j, err = OpenJournal(path, now); err != nil {
		t.Fatal(err)
	}
	end(cancel, Over)
	end(begin(Status), Completed)
	want("place ok", "cancel over", "status COMPLETED")
	if err := j.Restored(moment); err != nil {
		t.Fatal(err)
	}
	end(begin(Status), Running)
	want("place ok", "cancel ", "status ", "status RUNNING")
	if violated, _ := Check(reader.all, nil); len(violated) != 0 {
		t.Error("a return to a backup counts as a violation")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
