package board

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"
)

func (b *Board) watched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.viewers) > 0
}

// hurry makes the watcher look at the orders soon.
func (b *Board) hurry() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// tell sends news to all pages. A page that does not keep up is dropped; it
// reconnects and starts over.
func (b *Board) tell(n news) {
	data, err := json.Marshal(n)
	if err != nil {
		data = []byte(`{"problem":"the board cannot say what it knows"}`) // never
	}
	for viewer := range b.viewers {
		select {
		case viewer <- data:
		default:
			delete(b.viewers, viewer)
			close(viewer)
		}
	}
}

// errTooMany means that a board serves no more pages.
var errTooMany = errors.New("too many pages are open")

// mostViewers is how many pages can be open.
const mostViewers = 1000

// join adds a page. It returns a channel with all orders first, and then what is
// new. The channel is closed if the page does not keep up.
func (b *Board) join() (chan []byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.viewers) >= mostViewers {
		return nil, errTooMany
	}
	all := b.news
	if len(b.viewers) == 0 { // no page was open, so these may be out of date
		all.Problem, all.Diagnosis, all.Waiting, all.Known = "", "", "", false
	}
	all.Now, all.All = time.Now().UnixMilli(), true
	all = b.count(all)
	all.Orders = []order{}
	for _, id := range slices.Sorted(maps.Keys(b.known)) {
		all.Orders = append(all.Orders, *b.known[id])
	}
	data, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	viewer := make(chan []byte, 16)
	viewer <- data
	b.viewers[viewer] = struct{}{}
	b.hurry()
	return viewer, nil
}

func (b *Board) leave(viewer chan []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.viewers, viewer)
}
