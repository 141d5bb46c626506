package tour

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestPage: whatever is printed fits on a terminal of 80 columns and 24 rows before Enter
// has to be pressed, and no word is broken that fits on a line.
func TestPage(t *testing.T) {
	t.Parallel()
	for lines := range 70 {
		var out bytes.Buffer
		entered := make(chan string, 100)
		for range cap(entered) {
			entered <- ""
		}
		g := &guide{Options: Options{Out: &out}, ctx: t.Context(), lines: entered}
		g.say("A short paragraph.")
		g.show(strings.Repeat("brew  12 ms  "+strings.Repeat("heartbeat timeout: no sign of life ", 3)+"\n", lines/3))
		g.show(strings.Repeat("line\n", lines))
		g.say("%s", strings.Repeat("long paragraph ", lines*3))
		for i, screen := range strings.Split(out.String(), "[Enter] ") {
			if rows := strings.Count(screen, "\n") + 1; rows > 24 {
				t.Errorf("%d lines: screen %d has %d rows", lines, i, rows)
			}
			for line := range strings.Lines(screen) {
				if len([]rune(line)) > 80 {
					t.Errorf("%d columns: %q", len([]rune(line)), line)
				}
			}
		}
		for _, word := range []string{"heartbeat", "timeout:", "paragraph"} {
			if fields := fmt.Sprint(strings.Fields(out.String())); lines >= 3 && !strings.Contains(fields, word) {
				t.Errorf("%q is broken", word)
			}
		}
	}
}

// TestAtOnce: what happens while an order is under way does not wait for Enter.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	entered := make(chan string, 1)
	entered <- "" // and nobody presses it a second time
	close(entered)
	g := &guide{Options: Options{Out: &out}, ctx: t.Context(), lines: entered}
	err := func() (err error) {
		defer func() {
			if r, ok := recover().(ending); ok {
				err = r.err
			}
		}()
		g.say("Before.")
		g.atOnce(func() { g.show(strings.Repeat("line\n", 2*rows)) })
		return nil
	}()
	if err != nil || strings.Count(out.String(), "[Enter]") != 1 {
		t.Errorf("%v:\n%s", err, out.String())
	}
}

// TestCommandLine: a long command goes on in the next line, so that it can be copied.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	long := "coffee order" + strings.Repeat(" --order-id late", 12)
	lines := commandLine(long)
	for _, line := range lines {
		if len(line) > columns {
			t.Errorf("%d columns: %q", len(line), line)
		}
	}
	if got := strings.ReplaceAll(strings.Join(lines, "\n"), " \\\n    ", " "); len(lines) < 3 || got != "$ "+long {
		t.Errorf("got %q", lines)
	}
}

// TestWrap: what does not fit goes on below its column.
func TestWrap(t *testing.T) {
	t.Parallel()
	chart := "  brew   1.0 s  " + strings.Repeat("█", 30) + "  "
	got := wrap(chart + "heartbeat timeout: no sign of life for three seconds")
	if want := []string{chart + "heartbeat timeout: no sign of", strings.Repeat(" ", 48) + "life for three seconds"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := wrap(strings.Repeat("x", 100)); len(got) != 2 || len(got[0]) != columns {
		t.Errorf("got %q", got)
	}
}
