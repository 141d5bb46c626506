//go:build unix && !noserver

package simulation

import (
	"context"
	"fmt"
	"hash/fnv"
	"path"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Network is what a node's network does wrong. The zero value is one that works.
type Network struct {
	// Refuse cuts what is under way, and refuses further calls.
	Refuse bool
	// NoRequests and NoReplies let nothing through in a direction. What was held up arrives
	// in the end if Resumes is true, and is lost otherwise.
	NoRequests, NoReplies, Resumes bool
	// Reset loses each reply.
	Reset bool
	// Delay is how much longer a request or a reply takes.
	Delay time.Duration
	// Limit is the size in bytes of the largest reply that arrives; 0 means any.
	Limit int
}

// exchange sends a request and receives the reply.
func (n *Node) exchange(ctx context.Context, method string, request, reply any, options []grpc.CallOption) error {
	n.mu.Lock()
	wires := n.wires
	n.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(wires, cancel)()
	draw := n.draw(path.Base(method), request)
	err := n.travel(ctx, wires, latency(draw), func(network Network) bool { return network.NoRequests })
	if err != nil {
		return n.lost("requests lost", err)
	}
	answer := n.world.invoke(ctx, method, request, reply, options)
	if wires.Err() != nil {
		return n.lost("replies lost", errCut)
	}
	if err := n.travel(ctx, wires, latency(draw>>16), func(network Network) bool { return network.NoReplies }); err != nil {
		return n.lost("replies lost", err)
	}
	n.mu.Lock()
	network := n.network
	n.mu.Unlock()
	if network.Reset || network.Limit > 0 && proto.Size(reply.(proto.Message)) > network.Limit {
		return n.lost("replies lost", errCut)
	}
	return answer
}

var errCut = status.Error(codes.Unavailable, "simulation: the connection was cut")

// lost counts a message that did not arrive, unless its sender is dead or has given up.
func (n *Node) lost(what string, err error) error {
	n.mu.Lock()
	disturbed := !n.dead && n.network != Network{}
	n.mu.Unlock()
	if disturbed {
		n.world.Hit(what)
	}
	return err
}

// travel returns when a message has gone in one direction.
func (n *Node) travel(ctx, wires context.Context, takes time.Duration, holds func(Network) bool) error {
	if err := n.awake(); err != nil {
		return err
	}
	held := false
	for {
		n.mu.Lock()
		network, changed := n.network, n.changed
		n.mu.Unlock()
		if network.Refuse {
			return errCut
		}
		if !holds(network) {
			takes += network.Delay
			break
		}
		held = !network.Resumes
		select {
		case <-changed:
		case <-ctx.Done():
			return gone(ctx, wires)
		}
	}
	if held {
		return errCut
	}
	select {
	case <-time.After(takes):
		return n.awake()
	case <-ctx.Done():
		return gone(ctx, wires)
	}
}

// gone returns why a call ended early.
func gone(ctx, wires context.Context) error {
	if wires.Err() != nil {
		return errCut
	}
	return status.FromContextError(ctx.Err()).Err()
}

// draw draws a number for a call, which depends on the seed, the node, the method, the
// workflow, and how many calls had these in common before; not on the order of other calls.
func (n *Node) draw(method string, request any) uint64 {
	id := ""
	switch r := request.(type) {
	case interface{ GetResourceId() string }:
		id = r.GetResourceId()
	case interface{ GetWorkflowId() string }:
		id = r.GetWorkflowId()
	}
	key := fmt.Sprint(n.world.seed, n.name, method, id)
	n.mu.Lock()
	n.counts[key]++
	count := n.counts[key]
	n.mu.Unlock()
	hash := fnv.New64a()
	fmt.Fprint(hash, key, count)
	x := hash.Sum64() // whose upper bits differ too little
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}

// latency is how long a message takes, by a draw: up to 3 ms, so that few things happen at
// the same instant.
func latency(draw uint64) time.Duration {
	return 100*time.Microsecond + time.Duration(draw%(1<<16))*44*time.Nanosecond
}
