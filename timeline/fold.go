package timeline

import (
	"cmp"
	"fmt"
	"slices"

	"example.com/coffee/internal/text"
)

// A drawing has at most this many rows: the first and the last ones as they are, and those
// in between put together.
const (
	maxRows   = 200
	firstRows = 30
	lastRows  = 60
)

// fold returns a timeline that one can read. If it has too many rows, those between the
// first and the last ones that are alike, which have the same name and went the same way,
// become one; attempts, backoffs and waits belong to their step. The title says so.
func (t Timeline) fold() Timeline {
	if len(t.Rows) <= maxRows {
		return t
	}
	from, to := firstRows, len(t.Rows)-lastRows
	for from < to && t.Rows[from].partOfStep() {
		from++
	}
	for to < len(t.Rows) && t.Rows[to].partOfStep() {
		to++
	}
	folded := folding{index: map[like]int{}}
	for _, row := range t.Rows[from:to] {
		folded.add(row, t)
	}
	rows := folded.rows()
	t.Title += fmt.Sprintf(", %d rows, %d of them folded", len(t.Rows), to-from)
	t.Rows = slices.Concat(t.Rows[:from], rows, t.Rows[to:])
	return t
}

func (r Row) partOfStep() bool {
	return r.Kind == KindAttempt || r.Kind == KindBackoff || r.Kind == KindWait
}

// like is what rows that are put together have in common.
type like struct {
	kind  Kind
	name  string
	state State
}

// folding puts rows together.
type folding struct {
	index  map[like]int
	folded []Row
	counts []int
	other  int // rows that are not shown at all
}

func (f *folding) add(row Row, t Timeline) {
	if row.partOfStep() {
		return
	}
	key := like{row.Kind, row.Name, row.State}
	i, ok := f.index[key]
	switch {
	case !ok && len(f.folded) == maxRows-firstRows-lastRows:
		f.other++
	case !ok:
		f.index[key] = len(f.folded)
		row.End = row.until(t)
		f.folded, f.counts = append(f.folded, row), append(f.counts, 1)
	default:
		first := &f.folded[i]
		f.counts[i]++
		if end := row.until(t); end.After(first.End) {
			first.End = end
		}
		first.Outcome = cmp.Or(row.Outcome, first.Outcome)
		first.Events = nil // there are too many of them
	}
}

func (f *folding) rows() []Row {
	for i, n := range f.counts {
		if row := &f.folded[i]; n > 1 {
			row.Outcome = fmt.Sprintf("%d times: %s", n, cmp.Or(row.Outcome, string(row.State)))
		}
	}
	if f.other > 0 {
		last := &f.folded[len(f.folded)-1]
		last.Outcome += "; " + text.Plural(f.other, "row of another name is", "rows of other names are") + " left out"
	}
	return f.folded
}
