package terminal

import (
	"bytes"
	"context"
	"time"

	"example.com/coffee/internal/exit"
	"example.com/coffee/internal/sleep"
)

// WatchEvery is the pause between two looks at something that is watched.
const WatchEvery = 500 * time.Millisecond

// Repeat prints the text that look returns. When watching, it does so repeatedly
// until the text is final or the context ends. It clears a terminal first;
// elsewhere it does not print an unchanged text again. An empty text means that
// there is nothing to show, or that look has printed it.
func (o *Output) Repeat(ctx context.Context, watching bool, look func() (text []byte, final bool, err error)) error {
	var shown []byte
	for {
		text, final, err := look()
		if err != nil {
			return err
		}
		if len(text) > 0 && watching && o.IsTerminal() {
			o.Printf("\x1b[H\x1b[2J%s", text)
		} else if !bytes.Equal(shown, text) {
			o.Printf("%s", text)
		}
		shown = text
		if final || !watching || o.Out.Err != nil {
			return o.Out.Err
		}
		if !sleep.For(ctx, WatchEvery) {
			return &exit.Error{Code: exit.Interrupted} // the usual way to leave: no message
		}
	}
}
