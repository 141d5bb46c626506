//go:build !noserver

package devserver

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	namespacepb "go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"example.com/coffee/devserver/internal/store"
	"example.com/coffee/internal/tempdir"
)

// Server is a Temporal server that runs in this process.
type Server struct {
	options  Options
	address  string // of the frontend
	identity identity
	security *security // nil if nothing is encrypted
	alarm    *alarm
	store    *store.DB
	syncer   *syncer // nil if SQLite syncs by itself, or in memory
	// transport is the way in for clients in this process.
	transport *transport
	webPipe   *webPipe
	// parts close what the server consists of; closers close what Temporal leaves open.
	parts, closers closers
	namespaces     namespaceWatch
	ui             *http.Server
	uiAddress      string
	metrics        *http.Server
	metricsDir     *tempdir.Dir // nil if there are no metrics
	stop           func() error
	// stopping is cancelled when the server is told to stop.
	stopping  context.Context
	beginStop context.CancelFunc
}

// Start starts a server and returns when it serves. On an error it leaves nothing
// running. The error is a [*PortError], a [*LockedError], a [*DatabaseError], or
// one that says which option is invalid or what in the server failed.
//
// The context bounds the start, not the life of the server: see [Server.Stop].
func Start(ctx context.Context, options Options) (_ *Server, err error) {
	if err := errors.Join(CheckDynamicConfig(options.DynamicConfig), CheckSearchAttributes(options.SearchAttributes)); err != nil {
		return nil, err
	}
	options, err = options.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{options: options, transport: newTransport(), webPipe: newWebPipe(), alarm: &alarm{failed: make(chan error, 1)}}
	s.stopping, s.beginStop = context.WithCancel(context.Background())
	s.stop = sync.OnceValue(s.shutdown)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()

	// An interrupted start is a stop, which silences the log.
	uninterrupted := context.AfterFunc(ctx, func() { s.alarm.stopping.Store(true) })
	defer func() {
		if !uninterrupted() && err == nil {
			err = fmt.Errorf("the start was interrupted: %w", ctx.Err())
		}
	}()

	if s.security, err = newSecurity(options); err != nil {
		return nil, err
	}
	// The database comes first: a second server with the same settings should hear
	// of the first server, not of its ports.
	if err := s.openDatabase(ctx); err != nil {
		return nil, err
	}
	listeners, err := takePorts(options)
	if err != nil {
		return nil, err
	}
	s.parts.keep(func() error { listeners.close(); return nil })
	if err := s.prepareMetrics(); err != nil {
		return nil, err
	}
	if err := s.startTemporal(listeners.frontend); err != nil {
		return nil, err
	}
	if err := s.waitReady(ctx, listeners.frontend); err != nil {
		return nil, err
	}
	go func() {
		if err := s.transport.servePipe(); err != nil {
			s.alarm.fail(err)
		}
	}()
	if listeners.metrics != nil {
		s.startMetrics(listeners.metrics)
	}
	if listeners.ui != nil {
		if err := s.startUI(listeners.ui); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Address returns the address of the gRPC API, as host:port, for a client.
func (s *Server) Address() string { return s.address }

// ClientOptions returns the options for a client in this process, in the first of
// the namespaces. It reaches the server without a socket.
func (s *Server) ClientOptions() client.Options {
	return client.Options{
		HostPort:          s.address,
		Namespace:         s.options.Namespaces[0],
		ConnectionOptions: client.ConnectionOptions{DialOptions: s.DialOptions()},
	}
}

// DialOptions returns the options with which a gRPC connection to [Server.Address]
// becomes one inside the process, without a socket. They must come after other
// interceptors, which would not be called.
func (s *Server) DialOptions() []grpc.DialOption { return s.transport.dialOptions(s.transport.call) }

// UIURL returns the URL of the Web UI, or "" if there is none.
func (s *Server) UIURL() string {
	if s.ui == nil {
		return ""
	}
	return webScheme(s.options) + s.uiAddress
}

// HTTPURL returns the URL of the HTTP API, or "" if there is none.
func (s *Server) HTTPURL() string {
	if s.options.HTTPPort == 0 {
		return ""
	}
	return httpURL(s.options)
}

// MetricsURL returns the URL of the Prometheus endpoint, or "" if there is none.
func (s *Server) MetricsURL() string {
	if s.options.MetricsPort == 0 {
		return ""
	}
	return webScheme(s.options) + hostPort(dialable(s.options.IP), s.options.MetricsPort) + "/metrics"
}

// WebTLS returns the configuration for something beside the Web UI that listens on an
// address; nil means plain HTTP.
func (s *Server) WebTLS(ip string) *tls.Config { return s.security.webTLS(ip) }

func httpURL(o Options) string { return webScheme(o) + hostPort(dialable(o.IP), o.HTTPPort) }

func webScheme(o Options) string {
	if o.TLS == nil {
		return "http://"
	}
	return "https://"
}

// DatabaseFile returns the absolute path of the database, or "" if it has no file.
func (s *Server) DatabaseFile() string {
	if s.options.DatabaseFile == "" {
		return ""
	}
	return s.identity.DatabaseName
}

// Failed returns a channel that delivers an error when a part of the server has
// failed for good. The server should then be stopped.
func (s *Server) Failed() <-chan error { return s.alarm.failed }

// Stop stops the server. It can be called more than once.
func (s *Server) Stop() error { return s.stop() }

func (s *Server) shutdown() error {
	s.alarm.stopping.Store(true)
	s.beginStop()
	return s.parts.closeAll()
}

// openDatabase opens the file, or makes up a name for a database in memory,
// and creates the namespaces in it.
func (s *Server) openDatabase(ctx context.Context) error {
	if s.options.DatabaseFile == "" {
		s.identity = identity{ClusterID: uuid.NewString(), DatabaseName: "devserver-" + uuid.NewString()}
	} else {
		database, err := openDatabase(ctx, s.options)
		if err != nil {
			return err
		}
		s.parts.keep(database.close)
		s.identity = database.id
	}
	var namespaces []*sqlite.NamespaceConfig
	for _, name := range s.options.Namespaces {
		namespace, err := sqlite.NewNamespaceConfig(clusterName, name, false, s.options.SearchAttributes)
		if err != nil {
			return fmt.Errorf("namespace %q: %w", name, err)
		}
		namespace.Detail.Config.Retention = durationpb.New(cmp.Or(s.options.Retention, DefaultRetention))
		namespaces = append(namespaces, namespace)
	}
	dsn, queries := databaseDSNs(s.options, s.identity)
	var err error
	if s.store, err = store.Open(ctx, s.identity.DatabaseName, dsn, queries); err != nil {
		return &DatabaseError{File: s.identity.DatabaseName, Problem: "cannot be opened: " + err.Error(), cause: err}
	}
	s.parts.keep(s.store.Shutdown)
	if s.options.DatabaseFile == "" {
		if err := s.store.Setup(ctx, func(tx *sql.Tx) error { return setupSchema(ctx, tx) }); err != nil {
			return err
		}
	}
	if err := sqlite.CreateNamespaces(sqlConfig(s.identity), namespaces...); err != nil {
		return &DatabaseError{File: s.identity.DatabaseName, Problem: "cannot be set up: " + err.Error(), cause: err}
	}
	return nil
}

// startTemporal builds and starts the Temporal server, which will close the
// listener.
func (s *Server) startTemporal(frontend net.Listener) error {
	port, run := inProcessPort, slices.Clone(temporal.DefaultServices)
	if address, ok := frontend.Addr().(*net.TCPAddr); ok {
		port = address.Port
	} else {
		run = slices.DeleteFunc(run, func(name string) bool { return name == string(primitives.WorkerService) }) // it dials the port
	}
	s.address = hostPort(dialable(s.options.IP), port)
	interceptors := []grpc.UnaryServerInterceptor{sendPlain, withoutStickyBacklog, s.endPolls}
	if syncsReplies(s.options) {
		s.syncer = newSyncer(s.identity.DatabaseName, s.store.Writes, s.options.SyncLog, s.alarm.fail)
		s.parts.keep(s.syncer.close)
		interceptors = slices.Insert(interceptors, 0, s.syncer.beforeReply)
	}
	s.parts.keep(s.closers.closeAll)
	var server temporal.Server
	s.parts.keep(func() error {
		s.transport.close()
		s.webPipe.close()
		if server == nil {
			return nil
		}
		return server.Stop()
	})
	err := s.runFatal(func() (err error) {
		server, err = temporal.NewServerFx(s.module(s.security.grpcListener(frontend, s.options.Log)),
			temporal.WithConfig(serverConfig(s.options, s.identity, port, s.metricsSocket())),
			temporal.ForServices(run),
			temporal.WithStaticHosts(staticHosts(s.options, port)),
			temporal.WithLogger(logger{log: s.options.Log, alarm: s.alarm}),
			temporal.WithDynamicConfigClient(dynamicConfig(s.options)),
			temporal.WithChainedFrontendGrpcInterceptors(interceptors...),
			temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
			temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper {
				return authorization.NewNoopClaimMapper()
			}),
		)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot build the server: %w", err)
	}
	if err := s.runFatal(server.Start); err != nil {
		return fmt.Errorf("cannot start the server: %w", err)
	}
	return nil
}

// runFatal runs a part of the start in a goroutine of its own, because a fatal
// message ends the goroutine that logs it.
func (s *Server) runFatal(start func() error) error {
	result := make(chan error, 1)
	go func() {
		err := errors.New("ended without a result")
		defer func() {
			select {
			case fatal := <-s.alarm.failed:
				result <- fatal
			default:
				result <- err
			}
		}()
		err = start()
	}()
	return <-result
}

// waitReady returns when the server answers on its listener, and its namespaces have their
// search attributes and retention.
func (s *Server) waitReady(ctx context.Context, frontend net.Listener) error {
	creds := insecure.NewCredentials()
	if config := s.security.clientTLS(); config != nil {
		creds = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient(s.Address(), append(dialing(frontend), grpc.WithTransportCredentials(creds))...)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		health, err := grpc_health_v1.NewHealthClient(conn).Check(ctx,
			&grpc_health_v1.HealthCheckRequest{Service: workflowservice.WorkflowService_ServiceDesc.ServiceName}, grpc.WaitForReady(true))
		if err == nil && health.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server has started but does not answer: %w", errors.Join(ctx.Err(), err))
		case err := <-s.alarm.failed:
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
	for _, namespace := range s.options.Namespaces {
		err := s.addSearchAttributes(ctx, operatorservice.NewOperatorServiceClient(conn), namespace)
		if err == nil {
			err = setRetention(ctx, workflowservice.NewWorkflowServiceClient(conn), namespace, s.options.Retention)
		}
		if err != nil {
			return fmt.Errorf("namespace %q: %w", namespace, err)
		}
	}
	return nil
}

// setRetention changes the retention of an existing namespace; 0 leaves it
// unchanged.
func setRetention(ctx context.Context, service workflowservice.WorkflowServiceClient, name string, want time.Duration) error {
	if want == 0 {
		return nil
	}
	has, err := service.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: name})
	if err != nil || has.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration() == want {
		return err
	}
	_, err = service.UpdateNamespace(ctx, &workflowservice.UpdateNamespaceRequest{Namespace: name,
		Config: &namespacepb.NamespaceConfig{WorkflowExecutionRetentionTtl: durationpb.New(want)}})
	return err
}
