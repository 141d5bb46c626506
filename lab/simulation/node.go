//go:build unix && !noserver

package simulation

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Node is a process that uses the server of a world.
type Node struct {
	world *World
	name  string

	mu      sync.Mutex
	dead    bool
	frozen  int // how many freezes are not over
	network Network
	fuse    *Fuse         // nil unless it burns
	changed chan struct{} // closed when one of these changes
	// life ends when it is killed.
	life context.Context
	end  context.CancelFunc
	// wires end when the connections are cut.
	wires    context.Context
	cutWires context.CancelFunc
	counts   map[string]int   // of calls, by what they have in common
	beats    map[string]*beat // answers to heartbeats, by task token
}

// Node returns a node that works. Its draws depend on its name.
func (w *World) Node(name string) *Node {
	n := &Node{world: w, name: name, changed: make(chan struct{}), counts: map[string]int{}, beats: map[string]*beat{}}
	n.life, n.end = context.WithCancel(context.Background())
	n.wires, n.cutWires = context.WithCancel(n.life)
	return n
}

// Dial returns a client of the node. The options' address and its own ways to connect are
// replaced.
func (n *Node) Dial(ctx context.Context, options client.Options) (client.Client, error) {
	options.HostPort = "passthrough:///" + n.name
	options.ConnectionOptions.DialOptions = append(options.ConnectionOptions.DialOptions, grpc.WithChainUnaryInterceptor(n.call))
	return client.DialContext(ctx, options)
}

// change changes the node, and tells those who wait.
func (n *Node) change(how func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	how()
	close(n.changed)
	n.changed = make(chan struct{})
}

// Kill kills the node: all its calls fail from now on. It reports whether the node lived.
func (n *Node) Kill() (lived bool) {
	n.change(func() { lived, n.dead = !n.dead, true })
	n.cut()
	n.end()
	return lived
}

// Life is the context of what the node does, which ends when it is killed.
func (n *Node) Life() context.Context { return n.life }

// Fuse says when a node kills itself.
type Fuse struct {
	// Report means when the node next reports to the server how a task went. Otherwise it is
	// when the node next does something with [Node.Do].
	Report bool
	// Kept means that it does so, and does not learn of it.
	Kept bool
}

// Light lets the node kill itself.
func (n *Node) Light(fuse Fuse) { n.change(func() { n.fuse = &fuse }) }

// burn does something with which the node may kill itself.
func (n *Node) burn(report bool, f func() error) error {
	n.mu.Lock()
	fuse := n.fuse
	n.mu.Unlock()
	if fuse == nil || fuse.Report != report {
		return f()
	}
	what := "before"
	if fuse.Kept {
		what = "after"
		_ = f() // it does not learn of it
	}
	if n.Kill() {
		n.world.Hit(fmt.Sprintf("worker killed %s %s", what, map[bool]string{false: "a ledger call", true: "a report"}[report]))
	}
	return errKilled
}

// Freeze freezes the node for a while: its calls, and the answers to them, wait.
func (n *Node) Freeze(pause time.Duration) {
	n.change(func() { n.frozen++ })
	time.AfterFunc(pause, func() { n.change(func() { n.frozen-- }) })
}

// Frozen reports whether the node is frozen.
func (n *Node) Frozen() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.frozen > 0
}

// Disturb changes the node's network.
func (n *Node) Disturb(network Network) {
	n.change(func() { n.network = network })
	if network.Refuse {
		n.cut()
	}
}

func (n *Node) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cutWires()
	n.wires, n.cutWires = context.WithCancel(n.life)
}

// Do does something that needs no network, such as a call of a ledger. A frozen node waits
// before and after it. That of a dead node is not begun, or its outcome is not known.
func (n *Node) Do(f func() error) error {
	if err := n.awake(); err != nil {
		return err
	}
	err := n.burn(false, f)
	if lost := n.awake(); lost != nil {
		n.world.Hit("ledger calls done and lost")
		return lost
	}
	return err
}

var errKilled = status.Error(codes.Unavailable, "simulation: this process was killed")

// awake waits until the node is not frozen. It returns an error if it is dead.
func (n *Node) awake() error {
	for waited := false; ; waited = true {
		n.mu.Lock()
		dead, frozen, changed := n.dead, n.frozen > 0, n.changed
		n.mu.Unlock()
		switch {
		case dead:
			return errKilled
		case !frozen:
			if waited {
				n.world.Hit("calls held by a freeze")
			}
			return nil
		}
		<-changed
	}
}

// call is the innermost interceptor of the node's clients: it stands in for the connection.
func (n *Node) call(ctx context.Context, method string, request, reply any, _ *grpc.ClientConn, _ grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if beat, ok := request.(*workflowservice.RecordActivityTaskHeartbeatRequest); ok {
		return n.heartbeat(ctx, method, beat, reply.(proto.Message))
	}
	if strings.HasPrefix(path.Base(method), "Respond") {
		return n.burn(true, func() error { return n.exchange(ctx, method, request, reply, options) })
	}
	return n.exchange(ctx, method, request, reply, options)
}
