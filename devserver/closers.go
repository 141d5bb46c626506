//go:build !noserver

package devserver

import (
	"errors"
	"sync"

	sdkclient "go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/server/common"
	"go.temporal.io/server/common/sdk"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// closers remembers what Temporal's services open and do not close, because they
// expect their process to end: connections, clients and workers. What a service opens
// when all has been closed is closed at once.
type closers struct {
	mu          sync.Mutex
	closed      bool
	connections []*grpc.ClientConn
	clients     []sdkclient.Client
	workers     []sdkworker.Worker
}

// closeAll closes everything, after the services have stopped. Closing what a
// service has closed itself is no error.
func (c *closers) closeAll() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, w := range c.workers {
		w.Stop()
	}
	for _, client := range c.clients {
		client.Close()
	}
	var errs []error
	for _, conn := range c.connections {
		errs = append(errs, closeConnection(conn))
	}
	return errors.Join(errs...)
}

func closeConnection(conn *grpc.ClientConn) error {
	if err := conn.Close(); err != nil && status.Code(err) != codes.Canceled { // closed already
		return err
	}
	return nil
}

func (c *closers) keepConnection(conn *grpc.ClientConn) *grpc.ClientConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connections = append(c.connections, conn)
	if c.closed {
		_ = closeConnection(conn) // whoever opened it is told by its first request
	}
	return conn
}

func (c *closers) keepClient(client sdkclient.Client) sdkclient.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients = append(c.clients, client)
	if c.closed {
		client.Close()
	}
	return client
}

func (c *closers) keepWorker(w sdkworker.Worker) sdkworker.Worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.workers = append(c.workers, w)
	if c.closed {
		w.Stop()
	}
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

func (c *closers) ofRPC(f common.RPCFactory) common.RPCFactory { return rpcFactory{f, c} }

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

func (c *closers) ofSDK(f sdk.ClientFactory) sdk.ClientFactory { return clientFactory{f, c} }

func (f clientFactory) NewClient(options sdkclient.Options) sdkclient.Client {
	return f.closers.keepClient(f.ClientFactory.NewClient(options))
}

func (f clientFactory) GetSystemClient() sdkclient.Client {
	return f.closers.keepClient(f.ClientFactory.GetSystemClient())
}

func (f clientFactory) NewWorker(c sdkclient.Client, taskQueue string, options sdkworker.Options) sdkworker.Worker {
	return f.closers.keepWorker(f.ClientFactory.NewWorker(c, taskQueue, options))
}
