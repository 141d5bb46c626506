package terminal

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/charmbracelet/x/ansi"

	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/sleep"
)

const (
	// watchEvery is the shortest pause between two looks at something that is watched.
	watchEvery = 500 * time.Millisecond
	// lookPatience is how long a look may take while a terminal shows the one before.
	lookPatience = 5 * time.Second
)

// Repeat prints the text that look returns. When watching, it does so repeatedly
// until the text is final or the context ends. It redraws a terminal;
// elsewhere it does not print an unchanged text again. An empty text means that
// there is nothing to show, or that look has printed it.
//
// An error ends it, unless a terminal shows something already, and lost has words for the
// error, which say that no server answers: then they stand below that until one does.
func (o *Output) Repeat(ctx context.Context, watching bool, lost func(error) string, look func(context.Context) (text []byte, final bool, err error)) error {
	var shown []byte
	for {
		began := time.Now()
		onScreen := watching && o.IsTerminal() && len(shown) > 0
		text, final, err := lookOnce(ctx, onScreen, look)
		pause := max(watchEvery, 9*time.Since(began)) // requests take a tenth of the time, however much there is to see
		if watching && ctx.Err() != nil {
			return &exit.Error{Code: exit.Interrupted} // the usual way to leave: no message
		}
		if err != nil && onScreen && lost(err) != "" {
			columns, _ := o.Size()
			o.redraw(fmt.Appendf(bytes.Clone(shown), "%s\n", Cut(lost(err), columns)))
			sleep.For(ctx, watchEvery)
			continue
		}
		switch {
		case err != nil:
			return err
		case len(text) > 0 && watching && o.IsTerminal():
			o.redraw(text)
		case !bytes.Equal(shown, text):
			o.Printf("%s", text)
		}
		shown = text
		if final || !watching || o.Out.Err != nil {
			return o.Out.Err
		}
		if !sleep.For(ctx, pause) {
			return &exit.Error{Code: exit.Interrupted}
		}
	}
}

// lookOnce looks. If there is something on the screen, it does not wait long for what is newer.
func lookOnce(ctx context.Context, onScreen bool, look func(context.Context) ([]byte, bool, error)) ([]byte, bool, error) {
	if onScreen {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lookPatience)
		defer cancel()
	}
	return look(ctx)
}

// redraw replaces what the terminal shows. It does not clear it first, which would flicker.
func (o *Output) redraw(text []byte) {
	o.Printf("\x1b[H%s\x1b[J", bytes.ReplaceAll(text, []byte("\n"), []byte("\x1b[K\n")))
}

// Cut returns a line as it fits into a number of columns, and marks with an ellipsis that it
// was cut; 0 columns means any number. Nothing in the line may be for the terminal to obey.
func Cut(line string, columns int) string {
	if columns == 0 {
		return line
	}
	return ansi.Truncate(line, columns, "…")
}
