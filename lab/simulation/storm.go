//go:build unix && !noserver

package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// process is something that is kept running.
type process struct {
	mu   sync.Mutex
	node *Node // the latest
}

// DefaultPause is how long what is kept running is down after it has ended.
const DefaultPause = time.Second

// Keep runs something on a node of its own, such as a worker or a client, and again on a new
// node whenever that is killed or run returns an error. The context ends when the node is
// killed, or at [World.End]. If run returns nil, it is over.
//
// down, unless nil, is called when the node is no more, with the error if run has ended by
// itself. It returns how long there is no other, in place of [DefaultPause]; if that is
// negative, it is over. The channel is closed when it is.
func (w *World) Keep(name string, run func(ctx context.Context, node *Node) error, down func(err error) time.Duration) <-chan struct{} {
	if down == nil {
		down = func(error) time.Duration { return DefaultPause }
	}
	p, over := &process{}, make(chan struct{})
	w.kept = append(w.kept, p)
	w.running.Go(func() {
		defer close(over)
		for life := 1; w.open.Err() == nil; life++ {
			node := w.Node(fmt.Sprintf("%s.%d", name, life))
			p.mu.Lock()
			p.node = node
			p.mu.Unlock()
			ended := make(chan error, 1)
			w.running.Go(func() { // what is dead may take a while to end
				ctx, cancel := context.WithCancel(node.Life())
				defer cancel()
				defer context.AfterFunc(w.open, cancel)()
				ended <- run(ctx, node)
			})
			var err error
			select {
			case <-node.Life().Done():
			case err = <-ended:
				if err == nil {
					down(nil)
					return
				}
				if node.Life().Err() != nil || w.open.Err() != nil {
					err = nil // it did not end by itself
				}
			}
			pause := down(err)
			if pause < 0 {
				return
			}
			time.Sleep(pause)
		}
	})
	return over
}

// End ends what is kept running, and returns when it has ended.
func (w *World) End() {
	w.close()
	w.running.Wait()
}

// Storm injects faults, one every second on average: it kills the server at a commit and
// starts it again, kills or freezes what is kept running, or disturbs its network. The seed
// decides. It returns when the last one has begun, or with the context's error.
func (w *World) Storm(ctx context.Context, faults int) error {
	r := rand.New(rand.NewPCG(w.seed, 0))
	for range faults {
		pause, lasts := time.Duration(r.Int64N(int64(2*time.Second))), time.Duration(r.Int64N(int64(12*time.Second)))
		victim, what, after, kept := r.IntN(len(w.kept)+1), r.IntN(4), r.IntN(24), r.IntN(2) == 0
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		if victim == len(w.kept) {
			if err := w.Kill(after, kept); err != nil {
				return err
			}
			if err := w.Start(ctx); err != nil {
				return err
			}
			continue
		}
		p := w.kept[victim]
		p.mu.Lock()
		node := p.node
		p.mu.Unlock()
		switch what {
		case 0:
			node.Kill()
		case 1:
			node.Light(Fuse{Report: after%2 == 0, Kept: kept})
		case 2:
			node.Freeze(lasts)
		case 3:
			node.Disturb([]Network{{Refuse: true}, {Reset: true}, {NoRequests: true}, {NoReplies: true}, {Delay: time.Second}}[after%5])
			time.AfterFunc(lasts, func() { node.Disturb(Network{}) })
		}
	}
	return nil
}
