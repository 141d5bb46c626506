package board

import (
	"time"

	"example.com/coffee/coffee"
)

// advance moves the end of the window to a second.
func (b *Board) advance(second int64) {
	b.until = max(b.until, second-window)
	for b.until < second {
		b.until++
		b.seconds[b.until%window] = nil
	}
}

// counts reports whether a second is in the window.
func (b *Board) counts(second int64) bool { return second <= b.until && second > b.until-window }

// over counts an order that has ended, once.
func (b *Board) over(o order) {
	second := o.EndedAt / 1000
	if !b.counts(second) {
		return
	}
	ended := &b.seconds[second%window]
	if *ended == nil {
		*ended = map[string]order{}
	}
	(*ended)[o.ID] = o
}

// count adds the counters to a message for the pages.
func (b *Board) count(n news) news {
	b.advance(time.Now().Unix())
	n.LastMinute = map[coffee.OrderStatus]int{}
	for second := b.until - window + 1; second <= b.until; second++ {
		ended := b.seconds[second%window]
		n.Ended = append(n.Ended, len(ended))
		for _, o := range ended {
			n.LastMinute[o.Status]++
		}
	}
	return n
}

// ended returns what is known of an order that ended at a time, in milliseconds since
// 1970; the zero value if nothing is.
func (b *Board) ended(id string, when int64) order {
	if o := b.known[id]; o != nil && o.EndedAt == when {
		return *o
	}
	if second := when / 1000; b.counts(second) {
		if o := b.seconds[second%window][id]; o.EndedAt == when {
			return o
		}
	}
	return order{}
}
