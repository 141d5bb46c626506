package timeline

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// WriteMermaid draws a Gantt chart in the Mermaid language, which many Markdown
// viewers render. Times are in milliseconds since the workflow started. It returns
// the writer's error.
func (t Timeline) WriteMermaid(to io.Writer) error {
	t = t.fold()
	w := bufio.NewWriter(to)
	fmt.Fprintf(w, "gantt\n  title %s, %s\n  dateFormat x\n  axisFormat %%M:%%S\n", plain(t.Title), plain(t.Summary()))
	for _, row := range t.Rows {
		tag := ""
		switch row.State {
		case StateOK:
			tag = "done, "
		case StateFailed, StateCancelled:
			tag = "crit, "
		case StateRunning:
			tag = "active, "
		}
		begin, end := row.Start.Sub(t.StartedAt).Milliseconds(), row.until(t).Sub(t.StartedAt).Milliseconds()
		if row.instant() {
			tag += "milestone, "
		} else {
			end = max(end, begin+1) // a bar without length would be invisible
		}
		if !row.nested() {
			fmt.Fprintf(w, "  section %s\n", plain(row.Name))
		}
		label := row.Outcome
		if row.nested() || label == "" {
			label = strings.TrimSuffix(row.Name+" "+row.Outcome, " ")
		}
		fmt.Fprintf(w, "  %s :%s%d, %d\n", plain(label), tag, begin, end)
	}
	return w.Flush()
}

// plain removes characters that mean something to Mermaid, or to the HTML that it
// is shown in.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(`:;#<>&"'%{}[]|\`+"`", r), !unicode.IsPrint(r):
			return ' '
		}
		return r
	}, s)
	if s = strings.Join(strings.Fields(s), " "); s == "" {
		return "?"
	}
	return fit(s, 80)
}
