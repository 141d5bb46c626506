//go:build !noserver

package devserver

import (
	"errors"
	"slices"
	"sync"

	sdkclient "go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/server/common"
	"go.temporal.io/server/common/sdk"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// closers remember how to close things: the parts of a server, and what Temporal's
// services open and do not close, because they expect their process to end (connections,
// clients and workers). What is opened when all has been closed is closed at once.
type closers struct {
	mu     sync.Mutex
	closed bool
	all    []func() error
}

// closeAll closes everything: what was opened last comes first, as a worker before its
// client.
func (c *closers) closeAll() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var errs []error
	for _, close := range slices.Backward(c.all) {
		errs = append(errs, close())
	}
	return errors.Join(errs...)
}

func (c *closers) keep(close func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, close)
	if c.closed {
		_ = close() // its user learns of it at the first request
	}
}

// keepConnection keeps a connection, which its service may close itself.
func (c *closers) keepConnection(conn *grpc.ClientConn) *grpc.ClientConn {
	c.keep(func() error {
		if err := conn.Close(); status.Code(err) != codes.Canceled { // closed already
			return err
		}
		return nil
	})
	return conn
}

func (c *closers) keepClient(client sdkclient.Client) sdkclient.Client {
	c.keep(func() error { client.Close(); return nil })
	return client
}

func (c *closers) keepWorker(w sdkworker.Worker) sdkworker.Worker {
	c.keep(func() error { w.Stop(); return nil })
	return keptWorker{w, c}
}

// keptWorker does not start when everything has been closed: the SDK would panic.
type keptWorker struct {
	sdkworker.Worker
	closers *closers
}

// Start implements [sdkworker.Worker].
func (w keptWorker) Start() error {
	w.closers.mu.Lock()
	closed := w.closers.closed
	w.closers.mu.Unlock()
	if closed {
		return errors.New("the server has stopped")
	}
	return w.Worker.Start()
}

// rpcFactory remembers the connections that the services make to each other.
type rpcFactory struct {
	common.RPCFactory
	closers *closers
}

func (f rpcFactory) CreateRemoteFrontendGRPCConnection(address string) *grpc.ClientConn {
	return f.closers.keepConnection(f.RPCFactory.CreateRemoteFrontendGRPCConnection(address))
}

func (f rpcFactory) CreateLocalFrontendGRPCConnection() *grpc.ClientConn {
	return f.closers.keepConnection(f.RPCFactory.CreateLocalFrontendGRPCConnection())
}

func (f rpcFactory) CreateHistoryGRPCConnection(address string) *grpc.ClientConn {
	return f.closers.keepConnection(f.RPCFactory.CreateHistoryGRPCConnection(address))
}

func (f rpcFactory) CreateMatchingGRPCConnection(address string) *grpc.ClientConn {
	return f.closers.keepConnection(f.RPCFactory.CreateMatchingGRPCConnection(address))
}

// clientFactory remembers the clients and workers that the services make for their
// own server.
type clientFactory struct {
	sdk.ClientFactory
	closers *closers
}

func (f clientFactory) NewClient(options sdkclient.Options) sdkclient.Client {
	return f.closers.keepClient(f.ClientFactory.NewClient(options))
}

func (f clientFactory) GetSystemClient() sdkclient.Client {
	return f.closers.keepClient(f.ClientFactory.GetSystemClient())
}

func (f clientFactory) NewWorker(c sdkclient.Client, taskQueue string, options sdkworker.Options) sdkworker.Worker {
	return f.closers.keepWorker(f.ClientFactory.NewWorker(c, taskQueue, options))
}
