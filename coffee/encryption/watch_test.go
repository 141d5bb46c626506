package encryption

import (
	"context"
	"errors"
	"testing"
)

// TestWatch: only a worker that has never read anything, and takes an activity that it
// cannot read, is hopeless. Otherwise one foreign worker or one damaged payload could stop
// all the others.
func TestWatch(t *testing.T) {
	t.Parallel()
	missing := &MissingKeyError{KeyID: "1"}
	for name, test := range map[string]struct {
		readBefore bool
		err        error
		activity   bool
		hopeless   bool
	}{
		"its first activity":         {false, missing, true, true},
		"its first workflow task":    {false, missing, false, false},
		"after it has read a task":   {true, missing, true, false},
		"a damaged payload":          {false, ErrDamaged, true, false},
		"damaged, after it has read": {true, ErrDamaged, true, false},
	} {
		told := 0
		w := &Watch{Refused: func(err error, hopeless bool) {
			told++
			if hopeless != test.hopeless || !errors.Is(err, test.err) {
				t.Errorf("%s: hopeless is %v, %v", name, hopeless, err)
			}
		}}
		w.read(nil) // a poll without a task
		if test.readBefore {
			w.read([]byte("token"))
		}
		w.refuse(test.err, test.activity)
		if told != 1 {
			t.Errorf("%s: it was told %d times", name, told)
		}
		if err := w.Check(context.Background()); (err == nil) != test.readBefore {
			t.Errorf("%s: ready is %v", name, err)
		}
		w.read([]byte("token"))
		if err := w.Check(context.Background()); err != nil {
			t.Errorf("%s: it has read a task, and is not ready: %v", name, err)
		}
	}
	var none *Watch // of a client
	none.read([]byte("token"))
	none.refuse(missing, true)
}
