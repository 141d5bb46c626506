package timeline

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// The dimensions of the picture, in pixels.
const (
	svgWidth   = 820
	svgMargin  = 16
	svgTop     = 62
	svgRow     = 24
	svgBarLeft = 130
	svgBarWide = 400
	// svgChars is how many characters of text fit beside a bar.
	svgChars = 38
)

// svgStyle has colours that people with colour blindness can tell apart, on a light
// and on a dark background.
const svgStyle = `
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.title { font-size: 16px; font-weight: 600; }
.dim { fill: #57606a; }
.ground { fill: #ffffff; }
.grid { stroke: #d0d7de; }
.skipped { fill: #d0d7de; opacity: .5; }
.ok { fill: #1a7f64; } .failed { fill: #cf222e; } .cancelled { fill: #8250df; } .running { fill: #0969da; } .waiting { fill: #bf8700; }
.attempt { opacity: .6; } .backoff, .wait { opacity: .45; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .dim { fill: #9da7b3; }
  .ground { fill: #0d1117; }
  .grid { stroke: #30363d; }
  .skipped { fill: #30363d; }
  .ok { fill: #3fb990; } .failed { fill: #ff7b72; } .cancelled { fill: #d2a8ff; } .running { fill: #58a6ff; } .waiting { fill: #e3b341; }
}
`

// WriteSVG draws a self-contained picture, with a description for those who cannot
// see it. It returns the writer's error.
func (t Timeline) WriteSVG(to io.Writer) error {
	t = t.fold()
	w := bufio.NewWriter(to)
	nameWidth := t.nameWidth()
	more := 8 * (nameWidth - leastNameWidth) // for long names
	width, barLeft := svgWidth+more, svgBarLeft+more
	height := svgTop + svgRow*len(t.Rows) + svgMargin + 18
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title desc">`+"\n", width, height, width, height)
	fmt.Fprintf(w, "<title id=\"title\">%s</title>\n<desc id=\"desc\">%s</desc>\n<style>%s</style>\n", escape(t.Title+", "+t.Summary()), escape(t.words()), svgStyle)
	fmt.Fprintf(w, `<rect class="ground" width="%d" height="%d" rx="8"/>`+"\n", width, height)
	label := func(class string, x, y int, s string) {
		fmt.Fprintf(w, `<text class="%s" x="%d" y="%d">%s</text>`+"\n", class, x, y, escape(s))
	}
	label("title", svgMargin, 26, fit(t.Title, 90))
	label("dim", svgMargin, 45, fit(t.Summary(), 110))
	bottom := svgTop + svgRow*len(t.Rows) + 4
	for _, skip := range t.Skips {
		from, to := t.span(Row{Start: skip.From, End: skip.Until})
		fmt.Fprintf(w, `<rect class="skipped" x="%.1f" y="%d" width="%.1f" height="%d"><title>%s skipped</title></rect>`+"\n",
			float64(barLeft)+from*svgBarWide, svgTop-4, max(1, (to-from)*svgBarWide), bottom-svgTop+4, Duration(skip.Until.Sub(skip.From)))
	}
	for i := range 5 {
		if len(t.Skips) > 0 && i%4 != 0 {
			continue // the axis is broken: only its ends have a time
		}
		x := barLeft + i*svgBarWide/4
		fmt.Fprintf(w, `<line class="grid" x1="%d" y1="%d" x2="%d" y2="%d"/>`+"\n", x, svgTop-4, x, bottom)
		fmt.Fprintf(w, `<text class="dim" x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", x, bottom+16, Duration(t.Until().Sub(t.StartedAt)*time.Duration(i)/4))
	}
	for i, row := range t.Rows {
		y := svgTop + svgRow*i
		x := svgMargin
		if row.nested() {
			x += 14
		}
		label("", x, y+16, fit(row.Name, nameWidth))
		from, to := t.span(row)
		left := float64(barLeft) + from*svgBarWide
		if row.instant() {
			fmt.Fprintf(w, `<path class="%s" d="M%.1f %d l6 8 l-6 8 l-6 -8 z"/>`+"\n", row.State, left, y+4)
		} else {
			top, thick := y+4, 16
			if row.nested() {
				top, thick = y+7, 10
			}
			fmt.Fprintf(w, `<rect class="%s %s" x="%.1f" y="%d" width="%.1f" height="%d" rx="3"/>`+"\n", row.State, row.Kind, left, top, max(3, (to-from)*svgBarWide), thick)
		}
		label("dim", barLeft+svgBarWide+14, y+16, fit(strings.Trim(row.took(t)+", "+row.Outcome, ", "), svgChars))
	}
	fmt.Fprintln(w, "</svg>")
	return w.Flush()
}

// words describes the rows one after another.
func (t Timeline) words() string {
	var all []string
	if len(t.Skips) > 0 {
		all = append(all, Duration(t.Skipped())+" were skipped")
	}
	for _, row := range t.Rows {
		s := row.Name + " after " + Duration(row.Start.Sub(t.StartedAt))
		if took := row.took(t); took != "" {
			s += ", for " + took
		}
		if row.Outcome != "" {
			s += ": " + row.Outcome
		}
		all = append(all, s)
	}
	return strings.Join(all, "; ")
}

// escape turns any string into XML text. Characters that XML does not allow become
// U+FFFD.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder does not fail
	return b.String()
}
