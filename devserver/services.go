//go:build !noserver

package devserver

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"

	"github.com/gorilla/mux"
	"go.temporal.io/server/api/historyservice/v1"
	"go.temporal.io/server/api/matchingservice/v1"
	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/persistence/serialization"
	"go.temporal.io/server/common/pprof"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/common/resource"
	"go.temporal.io/server/common/rpc/encryption"
	"go.temporal.io/server/common/sdk"
	"go.temporal.io/server/service"
	"go.temporal.io/server/service/frontend"
	"go.temporal.io/server/service/history"
	"go.temporal.io/server/service/history/replication"
	"go.temporal.io/server/service/matching"
	"go.temporal.io/server/service/worker"
	"go.temporal.io/server/temporal"
	"go.uber.org/fx"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
)

// module is [temporal.TopLevelModule] with services that reach each other inside
// the process, and a frontend on a listener that is open already.
func (s *Server) module(frontendListener net.Listener) fx.Option {
	history, matching := newInProcess(&historyservice.HistoryService_ServiceDesc), newInProcess(&matchingservice.MatchingService_ServiceDesc)
	p := services{Server: s, history: history, matching: matching, frontend: frontendListener}
	return fx.Options(
		fx.Provide(
			temporal.NewServerFxImpl,
			temporal.ServerOptionsProvider,
			resource.ArchivalMetadataProvider,
			temporal.TaskCategoryRegistryProvider,
			temporal.ApplyClusterMetadataConfigProvider,
			p.newHistory, p.newMatching, p.newFrontend, p.newWorker,
		),
		dynamicconfig.Module,
		pprof.Module,
		temporal.TraceExportModule,
		chasm.Module,
		serialization.Module,
		temporal.FxLogAdapter,
		fx.Invoke(temporal.ServerLifetimeHooks),
	)
}

// services builds the four services of a server.
type services struct {
	*Server
	history, matching *inProcess
	frontend          net.Listener
}

func (p services) newHistory(params temporal.ServiceProviderParamsCommon) (temporal.ServicesGroupOut, error) {
	return p.build(params, primitives.HistoryService, p.history.listener, history.QueueModule, history.Module, replication.Module, p.syncer.outgoing(),
		fx.Invoke(func(server historyservice.HistoryServiceServer, options service.GrpcServerOptionsParams) {
			p.history.serve(server, serviceInterceptors(options))
		}))
}

func (p services) newMatching(params temporal.ServiceProviderParamsCommon) (temporal.ServicesGroupOut, error) {
	return p.build(params, primitives.MatchingService, p.matching.listener, matching.Module,
		fx.Invoke(func(server *matching.Handler, options service.GrpcServerOptionsParams) {
			p.matching.serve(server, serviceInterceptors(options))
		}))
}

func (p services) newFrontend(params temporal.ServiceProviderParamsCommon) (temporal.ServicesGroupOut, error) {
	return p.build(params, primitives.FrontendService, p.frontend, fx.Supply(params.CustomFrontendInterceptors), frontend.Module,
		fx.Decorate(func(options frontend.GrpcServerOptions) frontend.GrpcServerOptions {
			options.Options = append(slices.Clip(options.Options), grpc.NumStreamWorkers(streamWorkers))
			return options
		}),
		fx.Invoke(func(server *grpc.Server, handler frontend.Handler, options frontend.GrpcServerOptions) {
			p.transport.serve(server, handler, options.UnaryInterceptors)
		}),
		fx.Decorate(func(router *mux.Router) *mux.Router {
			router.Use(func(next http.Handler) http.Handler { return p.guard(p.options.IP, next) })
			if p.syncer != nil {
				router.Use(p.syncer.beforeResponse)
			}
			return router
		}),
		fx.Decorate(func(provider encryption.TLSConfigProvider) encryption.TLSConfigProvider {
			return webTLS{provider, p.security}
		}),
		fx.Invoke(p.webPipe.serve))
}

// dialing returns the options with which the server connects to its own frontend.
func dialing(frontend net.Listener) []grpc.DialOption {
	pipe, ok := frontend.(*bufconn.Listener)
	if !ok {
		return nil // its address leads there
	}
	return []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) })}
}

// newWorker builds the service that runs the system's own workflows, unless it is not to
// run. It receives no requests.
func (p services) newWorker(params temporal.ServiceProviderParamsCommon) (temporal.ServicesGroupOut, error) {
	if _, ok := params.ServiceNames[primitives.WorkerService]; !ok {
		return temporal.ServicesGroupOut{}, nil
	}
	return p.build(params, primitives.WorkerService, bufconn.Listen(1), worker.Module)
}

// streamWorkers is the number of goroutines that the frontend reuses for its
// requests. A request gets a new goroutine only when all of these are busy.
// Temporal's handlers need large stacks, which a new goroutine has to grow each
// time. gRPC uses them in turn, so each collection of garbage shrinks the stacks of
// all of them: more of them would cost more memory and more time.
const streamWorkers = 64

func (p services) build(params temporal.ServiceProviderParamsCommon, name primitives.ServiceName, listener net.Listener, options ...fx.Option) (temporal.ServicesGroupOut, error) {
	app := fx.New(
		params.GetCommonServiceOptions(name),
		fx.Options(options...),
		fx.Decorate(
			func(f common.RPCFactory) common.RPCFactory { return webFactory{rpcFactory{f, &p.closers}, p.webPipe} },
			func(f sdk.ClientFactory) sdk.ClientFactory { return clientFactory{f, &p.closers} },
			p.namespaces.of,
			func() net.Listener { return listener },
			func(options map[primitives.ServiceName][]grpc.DialOption) map[primitives.ServiceName][]grpc.DialOption {
				options = maps.Clone(options)
				for name, service := range map[primitives.ServiceName]*inProcess{primitives.HistoryService: p.history, primitives.MatchingService: p.matching} {
					options[name] = slices.Concat(options[name], service.dialOptions(service.call))
				}
				for _, name := range []primitives.ServiceName{primitives.FrontendService, primitives.InternalFrontendService} {
					options[name] = slices.Concat(options[name], dialing(p.frontend))
				}
				return options
			},
		),
	)
	return temporal.NewService(app, name, params.Logger), app.Err()
}
