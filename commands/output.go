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
	"github.com/rs/zerolog"
	"github.com/urfave/cli/v3"
	"go.temporal.io/sdk/log"
	"google.golang.org/grpc"

	"example.com/coffee/coffee"
)

// output is where a command prints.
type output struct {
	out *checkedWriter
	err io.Writer

	// log is for the application's own messages, platform for those of the
	// Temporal server and SDK. Both are set before a command runs.
	log      zerolog.Logger
	platform zerolog.Logger

	// dialOptions are for tests, which listen in on the connection to the
	// Temporal server, and break it.
	dialOptions []grpc.DialOption
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

// outputFlag is the flag -o of every command that has data to print.
func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT` of the output: text or json", Value: "text"}
}

// wantsJSON reads the output flag.
func wantsJSON(cmd *cli.Command) (bool, error) {
	if err := oneOf(cmd, "output", "text", "json"); err != nil {
		return false, err
	}
	return cmd.String("output") == "json", nil
}

// configureLogs sets up the loggers. Without a level the application's own
// messages are shown from info upwards, and the platform's from warn.
func (o *output) configureLogs(level, format string) error {
	ours, platform := zerolog.InfoLevel, zerolog.WarnLevel
	switch level {
	case "":
	case "never":
		ours, platform = zerolog.Disabled, zerolog.Disabled
	case "debug", "info", "warn", "error":
		parsed, err := zerolog.ParseLevel(level)
		if err != nil {
			return err
		}
		ours, platform = parsed, parsed
	default:
		return &usageError{message: fmt.Sprintf("--log-level is %q: use debug, info, warn, error, never", level)}
	}
	var w io.Writer
	switch {
	case format == "text" || format == "" && isTerminal(o.err):
		w = zerolog.ConsoleWriter{
			Out:         o.err,
			NoColor:     !isTerminal(o.err) || os.Getenv("NO_COLOR") != "",
			TimeFormat:  "15:04:05",
			FieldsOrder: []string{"order_id"},
			// Field values are quoted where they need it, the message is not.
			FormatMessage: func(message any) string {
				if message == nil {
					return ""
				}
				return coffee.Printable(fmt.Sprint(message))
			},
		}
	case format == "json" || format == "":
		w = invisibleEscaper{o.err}
	default:
		return &usageError{message: fmt.Sprintf("--log-format is %q: use text, json", format)}
	}
	base := zerolog.New(zerolog.SyncWriter(w)).With().Timestamp().Logger()
	o.log, o.platform = base.Level(ours), base.Level(platform)
	return nil
}

// sdkLog is the logger for a Temporal client.
func (o *output) sdkLog() log.Logger { return coffee.NewSDKLogger(o.platform) }

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}

// isTerminal tells whether the data goes to a terminal.
func (o *output) isTerminal() bool { return isTerminal(o.out.w) }

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
