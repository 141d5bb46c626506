package board

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
)

func (b *Board) watched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pages > 0
}

// hurry makes the watcher look at the orders soon.
func (b *Board) hurry() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// errTooMany means that a board serves no more pages.
var errTooMany = errors.New("too many pages are open")

// mostPages is how many pages can be open.
const mostPages = 1000

// page is an open page.
type page struct {
	board *Board
	more  <-chan struct{} // closed when there are news
}

// join adds a page.
func (b *Board) join() (*page, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pages >= mostPages {
		return nil, errTooMany
	}
	if b.pages == 0 { // what is known may be out of date
		b.news = news{Running: b.news.Running, Over: b.news.Over}
	}
	b.pages++
	b.count()
	b.hurry()
	now := make(chan struct{})
	close(now)
	return &page{b, now}, nil
}

// leave removes the page.
func (p *page) leave() {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	p.board.pages--
}

// next returns the news in JSON: those of the last look, or everything if the page is new or
// has missed a look.
func (p *page) next() []byte {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	keptUp := p.more == p.board.told
	p.more = p.board.more
	if keptUp {
		return p.board.update
	}
	all := p.board.news
	all.All, all.Orders, all.Gone = true, slices.AppendSeq([]order{}, maps.Values(p.board.shown)), nil
	return all.encode()
}

func (n news) encode() []byte {
	data, _ := json.Marshal(n) // it has nothing that JSON has not
	return data
}
