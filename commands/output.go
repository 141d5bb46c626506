package commands

// How this program prints.
//
//   - Data goes to stdout, everything else to stderr: logs, progress, hints.
//   - With -o json stdout has JSON and nothing else, never any colour.
//   - Colour only on a terminal, and not when NO_COLOR is set.
//   - A message is one line in lower case without a full stop; a hint says
//     what to do next, on a line of its own.
//   - Text that came from outside is escaped before a terminal sees it.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"unicode"
	"unicode/utf16"

	"github.com/mattn/go-isatty"
	"golang.org/x/term"
)

// output is where a command prints.
type output struct {
	out *checkedWriter
	err io.Writer
}

// checkedWriter keeps the first error, so that a command need not look at each
// line, and yet a full disk does not pass for success.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.w.Write(p)
	if err != nil {
		c.err = fmt.Errorf("cannot write the output: %w", err)
	}
	return n, err
}

// printf prints data.
func (o *output) printf(format string, args ...any) { fmt.Fprintf(o.out, format, args...) }

// line prints a row of the kind "name: value", the values below each other.
func (o *output) line(name, format string, args ...any) {
	o.printf("%-12s %s\n", name, fmt.Sprintf(format, args...))
}

// notef tells the person something that is not data. Whatever comes from
// outside is harmless in it.
func (o *output) notef(format string, args ...any) {
	fmt.Fprintf(o.err, "%s\n", escapeInvisible(fmt.Appendf(nil, format, args...)))
}

// json prints data as indented JSON.
func (o *output) json(v any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return err
	}
	_, err := o.out.Write(escapeInvisible(b.Bytes()))
	return err
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}

// isTerminal reports whether the data goes to a terminal.
func (o *output) isTerminal() bool { return isTerminal(o.out.w) }

// inColour reports whether the data may be coloured.
func (o *output) inColour() bool { return o.isTerminal() && os.Getenv("NO_COLOR") == "" }

// width is that of the terminal, in columns; 0 if the data goes elsewhere.
func (o *output) width() int {
	file, ok := o.out.w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// invisibleEscaper writes JSON.
type invisibleEscaper struct{ w io.Writer }

func (e invisibleEscaper) Write(p []byte) (int, error) {
	if _, err := e.w.Write(escapeInvisible(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// escapeInvisible escapes what a terminal may obey: control characters,
// bidirectional marks and the like, but not line feeds. It does so as JSON does,
// so that JSON, whose encoder leaves some of them as they are, means the same
// afterwards.
func escapeInvisible(text []byte) []byte {
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
		for _, unit := range utf16.Encode([]rune{r}) { // as JSON wants it
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.Bytes()
}
