package timeline

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"example.com/coffee/internal/text"
)

// TextOptions configure [Timeline.WriteText].
type TextOptions struct {
	// Width is the width of the terminal, in columns; 0 means 80, and other values
	// below 60 mean 60.
	Width int
	// Colour adds ANSI escape sequences.
	Colour bool
	// Events lists the events that each row comes from.
	Events bool
}

// The widths of the columns. That of the names fits the longest one, within bounds. The bar
// gets two fifths of what is left, the outcome the rest.
const (
	leastNameWidth = 15
	mostNameWidth  = 25
	startWidth     = 8
	tookWidth      = 10
)

// nameWidth returns how many columns the names need, with a space after them.
func (t Timeline) nameWidth() int {
	width := leastNameWidth
	for _, row := range t.Rows {
		n := utf8.RuneCountInString(text.Printable(row.Name)) + 1
		if row.nested() {
			n += 2
		}
		width = max(width, min(n, mostNameWidth))
	}
	return width
}

// colours are ANSI sequences.
var colours = map[State]string{
	StateOK: "\x1b[32m", StateFailed: "\x1b[31m", StateCancelled: "\x1b[35m", StateRunning: "\x1b[36m", StateWaiting: "\x1b[33m",
}

// WriteText draws a table with a bar for each row. It returns the writer's error.
func (t Timeline) WriteText(to io.Writer, o TextOptions) error {
	t = t.fold()
	w := bufio.NewWriter(to)
	width := max(o.Width, 60)
	if o.Width == 0 {
		width = 80
	}
	nameWidth := t.nameWidth()
	rest := width - nameWidth - startWidth - tookWidth - 4
	barWidth := rest * 2 / 5
	outcomeWidth := rest - barWidth
	for _, line := range wrap(t.Title+", "+t.Summary(), width) {
		fmt.Fprintln(w, line)
	}
	if len(t.Rows) > 0 {
		fmt.Fprintf(w, "\n%-*s%*s%*s\n", nameWidth, "", startWidth, "START", tookWidth, "LENGTH")
	}
	if len(t.Skips) > 0 {
		fmt.Fprintf(w, "%-*s%*s%*s  %s\n", nameWidth, "(skipped)", startWidth, "", tookWidth, Duration(t.Skipped()), strings.TrimRight(t.skipped(barWidth), " "))
	}
	for _, row := range t.Rows {
		name := row.Name
		if row.nested() {
			name = "  " + name
		}
		bar := t.bar(row, barWidth)
		pad := strings.Repeat(" ", barWidth-utf8.RuneCountInString(bar)+2)
		if o.Colour {
			bar = colours[row.State] + bar + "\x1b[0m"
		}
		line := fmt.Sprintf("%-*s%*s%*s  %s", nameWidth, fit(text.Printable(name), nameWidth-1), startWidth, Duration(row.Start.Sub(t.StartedAt)), tookWidth, row.took(t), bar)
		for _, part := range wrap(text.Printable(row.Outcome), outcomeWidth) {
			fmt.Fprintln(w, strings.TrimRight(line+pad+part, " "))
			line, pad = "", strings.Repeat(" ", nameWidth+startWidth+tookWidth+2+barWidth+2)
		}
		if o.Events {
			for _, event := range row.Events {
				fmt.Fprintf(w, "    %4d  %-35s %s\n", event.ID, fit(event.Type, 35), event.Time.UTC().Format("15:04:05.000"))
			}
		}
	}
	return w.Flush()
}

func (r Row) nested() bool {
	return r.Kind == KindAttempt || r.Kind == KindBackoff
}

// instant reports whether a row takes no time.
func (r Row) instant() bool {
	return (r.Kind == KindMoment || r.Kind == KindMark) && r.Start.Equal(r.End)
}

// until returns the end of a row, or the time up to which it is known to be in
// progress.
func (r Row) until(t Timeline) time.Time {
	if r.End.IsZero() {
		return t.Until()
	}
	return r.End
}

// took returns how long a row lasted, marked with ~ if that is an estimate; empty for a
// moment.
func (r Row) took(t Timeline) string {
	took := Duration(r.until(t).Sub(r.Start))
	switch {
	case r.instant():
		return ""
	case r.Estimated:
		return "~" + took
	}
	return took
}

// breakShare is the share of the line that a skip gets, however long it is.
const breakShare = 1. / 12

// span returns where a row begins and ends on a line of length 1. The line is an
// axis of time that is broken where time was skipped.
func (t Timeline) span(row Row) (from, to float64) {
	passed := (t.Until().Sub(t.StartedAt) - t.Skipped()).Seconds()
	if t.Until().Sub(t.StartedAt) <= 0 {
		return 0, 1
	}
	broken := min(breakShare, 0.5/max(1, float64(len(t.Skips))))
	unbroken := 1 - broken*float64(len(t.Skips))
	place := func(at time.Time) (place float64) {
		before := at.Sub(t.StartedAt).Seconds()
		for _, skip := range t.Skips {
			length := skip.Until.Sub(skip.From).Seconds()
			done := min(length, max(0, at.Sub(skip.From).Seconds()))
			place += broken * done / length
			before -= done
		}
		if passed > 0 {
			place += unbroken * before / passed
		}
		return min(1, max(0, place))
	}
	return place(row.Start), max(place(row.Start), place(row.until(t)))
}

// bar returns a row's bar, with the space before it.
func (t Timeline) bar(row Row, width int) string {
	begin, length := t.columns(row, width)
	glyph := "█"
	switch {
	case row.instant():
		glyph, length = map[Kind]string{KindMoment: "▼", KindMark: "▽"}[row.Kind], 1
	case row.State == StateWaiting || row.Kind == KindTimer && row.State == StateOK:
		glyph = "·"
	case row.State == StateFailed || row.State == StateCancelled:
		glyph = "▒"
	}
	return strings.Repeat(" ", begin) + strings.Repeat(glyph, length)
}

// columns returns which of the columns of a line a row takes: one or more.
func (t Timeline) columns(row Row, width int) (begin, length int) {
	from, to := t.span(row)
	begin = min(width-1, int(from*float64(width)))
	length = max(1, int(math.Round(to*float64(width)))-begin)
	return begin, min(length, width-begin)
}

// skipped returns a line with a mark where time was skipped.
func (t Timeline) skipped(width int) string {
	line := []rune(strings.Repeat(" ", width))
	for _, skip := range t.Skips {
		begin, length := t.columns(Row{Start: skip.From, End: skip.Until}, width)
		for i := range length {
			line[begin+i] = '╱'
		}
	}
	return string(line)
}

// fit cuts s to at most n characters.
func fit(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return text.Clip(s, n-1)
}

// wrap breaks a text into lines of at most n columns, between words where it can.
func wrap(s string, n int) []string {
	return strings.Split(ansi.Wrap(strings.Join(strings.Fields(s), " "), n, ""), "\n")
}
