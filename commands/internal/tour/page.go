package tour

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/coffee/internal/text"
)

// A terminal has 80 columns and 24 rows. columns is how wide a line of the tour is, and
// rows how many fit above an empty one and the prompt for Enter.
const (
	columns = 79
	rows    = 22
)

// print prints some lines that belong together. What has not been read yet does not
// scroll away: before that, the person has to press Enter.
func (g *guide) print(lines ...string) {
	if !g.held && g.shown > 0 && g.shown+len(lines) > rows {
		g.pause()
	}
	for _, line := range lines {
		if !g.held && g.shown >= rows {
			g.pause()
		}
		fmt.Fprintln(g.Out, line)
		g.shown++
		g.said = time.Now()
	}
}

// atOnce begins a page, and does what does not wait for the person: orders go on while they
// read. What is too long for the page scrolls away.
func (g *guide) atOnce(do func()) {
	if g.shown > 0 {
		g.pause()
	}
	g.held = true
	do()
	g.held = false
}

// say prints a paragraph.
func (g *guide) say(format string, args ...any) {
	g.print(append([]string{""}, wrap(strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "))...)...)
}

// show prints what came of a command, indented.
func (g *guide) show(text string) {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			line = "  " + line
		}
		lines = append(lines, wrap(line)...)
	}
	g.print(lines...)
}

func wrap(line string) []string { return text.Wrap(line, columns) }

// pause waits until the person wants to go on.
func (g *guide) pause() {
	g.shown = 0
	if g.lines == nil {
		return
	}
	fmt.Fprint(g.Out, "\n[Enter] ")
	select {
	case line, ok := <-g.lines:
		g.said = time.Now()
		switch {
		case !ok:
			fmt.Fprintln(g.Out)
			g.must(errors.New("there is nobody who presses Enter: coffee tour --auto does without"))
		case strings.EqualFold(strings.TrimSpace(line), "q"):
			g.must(errQuit)
		}
	case <-g.ctx.Done():
		g.must(g.ctx.Err())
	}
}

// where says where in the code the things are that a chapter was about.
func (g *guide) where(places ...string) {
	g.print("", "Where it lives:")
	g.show(strings.Join(places, "\n"))
}

// stillness is how long the tour stands still without a word.
const stillness = 3 * time.Second

// waiting says what the tour waits for.
func (g *guide) waiting(what string) {
	fmt.Fprintf(g.Out, "  (waiting until %s)\n", what)
	g.shown++
	g.said = time.Now()
}
