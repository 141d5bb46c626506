// Package terminal is how this program speaks: output, words, errors with their hints, and screens.
package terminal

// How this program prints.
//
//   - Data goes to stdout, everything else to stderr: logs, progress, hints.
//   - With -o json, stdout has nothing but JSON, without colour.
//   - Colour only on a terminal, and not when NO_COLOR is set.
//   - A message is one line in lower case without a full stop; a hint says
//     what to do next, on a line of its own.
//   - Text from outside is escaped before it reaches a terminal.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"
)

// Output is where a command prints.
type Output struct {
	Out *CheckedWriter
	Err io.Writer
}

// CheckedWriter keeps the first error. Commands need not check every write, and
// still a full disk does not pass for success.
type CheckedWriter struct {
	W     io.Writer
	Err   error
	lossy bool // what cannot be written is lost, see [Output.OutliveReaders]
}

// Write implements [io.Writer].
func (c *CheckedWriter) Write(p []byte) (int, error) {
	if c.Err != nil {
		return 0, c.Err
	}
	n, err := c.W.Write(p)
	if c.lossy {
		return len(p), nil
	}
	if err != nil {
		c.Err = fmt.Errorf("cannot write the output: %w", err)
	}
	return n, err
}

// Printf prints data.
func (o *Output) Printf(format string, args ...any) { fmt.Fprintf(o.Out, format, args...) }

// Line prints a name and its value, with the values of all lines aligned.
func (o *Output) Line(name, format string, args ...any) {
	o.Printf("%-12s %s\n", name, fmt.Sprintf(format, args...))
}

// Notef prints a message to stderr. It escapes what a terminal may obey, so
// arguments may come from outside.
func (o *Output) Notef(format string, args ...any) {
	fmt.Fprintf(o.Err, "%s\n", escapeInvisible(fmt.Appendf(nil, format, args...)))
}

// Json prints data as indented JSON.
func (o *Output) Json(v any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return err
	}
	_, err := o.Out.Write(escapeInvisible(b.Bytes()))
	return err
}

// Show prints data as JSON, or as text for people.
func (o *Output) Show(asJSON bool, data any, text func(*Output)) error {
	if asJSON {
		return o.Json(data)
	}
	text(o)
	return nil
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// IsTerminal reports whether the data goes to a terminal.
func (o *Output) IsTerminal() bool { return IsTerminal(o.Out.W) }

// InColour reports whether the data may be coloured.
func (o *Output) InColour() bool { return o.IsTerminal() && os.Getenv("NO_COLOR") == "" }

// Size returns the columns and the rows of the terminal. If the data goes elsewhere, there are
// $COLUMNS columns, and 0 means any number.
func (o *Output) Size() (columns, rows int) {
	if file, ok := o.Out.W.(*os.File); ok {
		if columns, rows, err := term.GetSize(int(file.Fd())); err == nil {
			return columns, rows
		}
	}
	columns, _ = strconv.Atoi(os.Getenv("COLUMNS"))
	return max(0, columns), 0
}

// InvisibleEscaper applies escapeInvisible to the JSON that is written to it.
type InvisibleEscaper struct{ W io.Writer }

// Write implements [io.Writer].
func (e InvisibleEscaper) Write(p []byte) (int, error) {
	if _, err := e.W.Write(escapeInvisible(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// escapeInvisible escapes what a terminal may obey: control characters,
// bidirectional marks and the like, but not line feeds. What is not UTF-8 is replaced. The JSON encoder leaves
// some of them as they are. The escapes are those of JSON, so JSON keeps its
// meaning.
func escapeInvisible(text []byte) []byte {
	text = bytes.ToValidUTF8(text, []byte(string(utf8.RuneError)))
	harmless := func(r rune) bool { return r == '\n' || unicode.IsPrint(r) }
	if bytes.IndexFunc(text, func(r rune) bool { return !harmless(r) }) < 0 {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		if harmless(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) { // JSON escapes UTF-16 units
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.Bytes()
}

// OutliveReaders lets a long-running command outlive whoever reads its output and its log:
// what is written after they have gone is lost. Otherwise SIGPIPE would end the process,
// as is right for coffee status | head.
func (o *Output) OutliveReaders() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // not Ignore, which children would inherit
	o.Out.lossy = true
}
