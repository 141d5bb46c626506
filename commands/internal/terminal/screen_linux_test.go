package terminal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/coffee/internal/exit"
)

// openTerminal returns a terminal of 40 columns, and what reads from its other end.
func openTerminal(t *testing.T) (terminal *os.File, reader *os.File) {
	t.Helper()
	reader, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { reader.Close() })
	number, err := unix.IoctlGetInt(int(reader.Fd()), unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(int(reader.Fd()), unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	if terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 40, Row: 24}); err != nil {
		t.Fatal(err)
	}
	return terminal, reader
}

// TestRepeatSurvives: a terminal goes on showing what it shows while the server is away, says
// so below it, and ends with any other error. Elsewhere that is an error like any other.
func TestRepeatSurvives(t *testing.T) {
	t.Parallel()
	away, other := errors.New("away"), errors.New("other")
	lost := func(err error) string {
		if !errors.Is(err, away) {
			return ""
		}
		return "no Temporal server answers at 127.0.0.1:7233"
	}
	looks := func() func(context.Context) ([]byte, bool, error) {
		steps := []struct {
			text string
			err  error
		}{{"one\n", nil}, {"", away}, {"two\n", nil}, {"", other}}
		return func(context.Context) ([]byte, bool, error) {
			step := steps[0]
			steps = steps[1:]
			return []byte(step.text), false, step.err
		}
	}
	pty, reader := openTerminal(t)
	onScreen := &Output{Out: &CheckedWriter{W: pty}}
	if err := onScreen.Repeat(t.Context(), true, lost, looks()); !errors.Is(err, other) {
		t.Errorf("it ended with %v", err)
	}
	shown := make([]byte, 1000)
	n, err := reader.Read(shown)
	if err != nil {
		t.Fatal(err)
	}
	want := "\x1b[Hone\x1b[K\r\n\x1b[J" + "\x1b[Hone\x1b[K\r\nno Temporal server answers at 127.0.0.1…\x1b[K\r\n\x1b[J" + "\x1b[Htwo\x1b[K\r\n\x1b[J"
	if got := string(shown[:n]); got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	var printed strings.Builder
	elsewhere := &Output{Out: &CheckedWriter{W: &printed}}
	if err := elsewhere.Repeat(t.Context(), true, lost, looks()); !errors.Is(err, away) || printed.String() != "one\n" {
		t.Errorf("elsewhere it ended with %v, after %q", err, printed.String())
	}
	interrupted, cancel := context.WithCancel(t.Context())
	err = onScreen.Repeat(interrupted, true, lost, func(ctx context.Context) ([]byte, bool, error) {
		cancel()
		return nil, false, ctx.Err()
	})
	if e := exit.In(err); e == nil || e.Code != exit.Interrupted || e.Error() != "" {
		t.Errorf("an interrupt ended it with %v", err)
	}
}

// TestCut: a line is cut by what it takes on the screen, and marked.
func TestCut(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		line    string
		columns int
		want    string
	}{
		{"latte", 0, "latte"}, {"latte", 5, "latte"}, {"latte", 4, "lat…"}, {"latte", 1, "…"},
		{"五五五", 6, "五五五"}, {"五五五", 5, "五五…"}, {"五五五", 4, "五…"}, {"", 1, ""},
	} {
		if got := Cut(test.line, test.columns); got != test.want {
			t.Errorf("%q in %d columns: %q", test.line, test.columns, got)
		}
	}
}
