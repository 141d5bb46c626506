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

// releases remembers what Temporal's services open and, since they expect their
// process to end, do not close: connections, clients and workers.
type releases struct {
	mu          sync.Mutex
	connections []*grpc.ClientConn
	clients     []sdkclient.Client
	workers     []sdkworker.Worker
}

// all closes everything, once the services have stopped. What a service has
// closed itself can be closed again.
func (r *releases) all() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.workers {
		w.Stop()
	}
	for _, c := range r.clients {
		c.Close()
	}
	var errs []error
	for _, conn := range r.connections {
		if err := conn.Close(); err != nil && status.Code(err) != codes.Canceled { // closed already
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (r *releases) keepConnection(conn *grpc.ClientConn) *grpc.ClientConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connections = append(r.connections, conn)
	return conn
}

func (r *releases) keepClient(c sdkclient.Client) sdkclient.Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients = append(r.clients, c)
	return c
}

// rpcFactory is how the services get connections to each other.
type rpcFactory struct {
	common.RPCFactory
	releases *releases
}

func (r *releases) ofRPC(f common.RPCFactory) common.RPCFactory { return rpcFactory{f, r} }

func (f rpcFactory) CreateRemoteFrontendGRPCConnection(address string) *grpc.ClientConn {
	return f.releases.keepConnection(f.RPCFactory.CreateRemoteFrontendGRPCConnection(address))
}

func (f rpcFactory) CreateLocalFrontendGRPCConnection() *grpc.ClientConn {
	return f.releases.keepConnection(f.RPCFactory.CreateLocalFrontendGRPCConnection())
}

func (f rpcFactory) CreateHistoryGRPCConnection(address string) *grpc.ClientConn {
	return f.releases.keepConnection(f.RPCFactory.CreateHistoryGRPCConnection(address))
}

func (f rpcFactory) CreateMatchingGRPCConnection(address string) *grpc.ClientConn {
	return f.releases.keepConnection(f.RPCFactory.CreateMatchingGRPCConnection(address))
}

// clientFactory is how the services get clients and workers of their own server.
type clientFactory struct {
	sdk.ClientFactory
	releases *releases
}

func (r *releases) ofSDK(f sdk.ClientFactory) sdk.ClientFactory { return clientFactory{f, r} }

func (f clientFactory) NewClient(options sdkclient.Options) sdkclient.Client {
	return f.releases.keepClient(f.ClientFactory.NewClient(options))
}

func (f clientFactory) GetSystemClient() sdkclient.Client {
	return f.releases.keepClient(f.ClientFactory.GetSystemClient())
}

func (f clientFactory) NewWorker(c sdkclient.Client, taskQueue string, options sdkworker.Options) sdkworker.Worker {
	w := f.ClientFactory.NewWorker(c, taskQueue, options)
	f.releases.mu.Lock()
	defer f.releases.mu.Unlock()
	f.releases.workers = append(f.releases.workers, w)
	return w
}
