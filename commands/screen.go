package commands

import (
	"bytes"
	"context"
	"time"
)

// watchEvery is how often something that is watched is looked at.
const watchEvery = 500 * time.Millisecond

// sleep returns false if the context ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// watch prints what look returns, again and again until it is final or the context
// ends; just once, unless asked to watch. A terminal is cleared in between;
// elsewhere a text that has not changed is not printed again. Where there is no
// text, there was nothing to show, or look has printed it.
func (o *output) watch(ctx context.Context, watching bool, look func() (text []byte, final bool, err error)) error {
	var shown []byte
	for {
		text, final, err := look()
		if err != nil {
			return err
		}
		if len(text) > 0 && watching && o.isTerminal() {
			o.printf("\x1b[H\x1b[2J%s", text)
		} else if !bytes.Equal(shown, text) {
			o.printf("%s", text)
		}
		shown = text
		if final || !watching {
			return o.out.err
		}
		if !sleep(ctx, watchEvery) {
			return &exitError{code: exitInterrupted} // the usual way to leave: no message
		}
	}
}
