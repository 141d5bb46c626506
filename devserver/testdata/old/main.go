// The program is a Temporal server of an older version, set up like temporal server
// start-dev with a file. Besides the orders that make places there, it has what coffee
// does not use: a schedule, a workflow that waits for a timer, and a custom search
// attribute.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/schema/sqlite"
	server "go.temporal.io/server/temporal"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	loopback = "127.0.0.1"
	address  = "127.0.0.1:27233"
	store    = "sqlite"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(file string) error {
	if err := serve(file); err != nil {
		return err
	}
	c, err := client.Dial(client.Options{HostPort: address})
	if err != nil {
		return err
	}
	ctx := context.Background()
	w := worker.New(c, "reminders", worker.Options{})
	w.RegisterWorkflowWithOptions(remind, workflow.RegisterOptions{Name: "Reminder"})
	if err := w.Start(); err != nil {
		return err
	}
	shop := temporal.NewSearchAttributeKeyKeyword("Shop")
	if _, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: "reminder", TaskQueue: "reminders", TypedSearchAttributes: temporal.NewSearchAttributes(shop.ValueSet("north")),
	}, "Reminder", time.Second*30); err != nil {
		return err
	}
	if _, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:     "every-hour",
		Spec:   client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}},
		Action: &client.ScheduleWorkflowAction{ID: "scheduled", Workflow: "Reminder", TaskQueue: "reminders", Args: []any{time.Second}},
	}); err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // the timer has begun
	w.Stop()
	fmt.Println("ready")
	select {} // until it is killed
}

func remind(ctx workflow.Context, d time.Duration) (string, error) {
	return "time is up", workflow.Sleep(ctx, d)
}

// serve starts the server.
func serve(file string) error {
	sql := &config.SQL{PluginName: sqliteplugin.PluginName, DatabaseName: file, ConnectAttributes: map[string]string{"mode": "rwc"}}
	if err := sqlite.SetupSchema(sql); err != nil {
		return err
	}
	namespace, err := sqlite.NewNamespaceConfig("active", "default", false, map[string]enumspb.IndexedValueType{"Shop": enumspb.INDEXED_VALUE_TYPE_KEYWORD})
	if err != nil {
		return err
	}
	namespace.Detail.Config.Retention = durationpb.New(100 * 365 * 24 * time.Hour) // tests come much later
	if err := sqlite.CreateNamespaces(sql, namespace); err != nil {
		return err
	}
	conf := &config.Config{
		Persistence: config.Persistence{
			DefaultStore: store, VisibilityStore: store, NumHistoryShards: 1,
			DataStores: map[string]config.DataStore{store: {SQL: sql}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10, MasterClusterName: "active", CurrentClusterName: "active",
			ClusterInformation: map[string]cluster.ClusterInformation{"active": {Enabled: true, InitialFailoverVersion: 1, RPCAddress: address, ClusterID: uuid.NewString()}},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services:            map[string]config.Service{},
		Archival: config.Archival{
			History: config.HistoryArchival{State: "disabled"}, Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History: config.HistoryArchivalNamespaceDefaults{State: "disabled"}, Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
		PublicClient: config.PublicClient{HostPort: address},
	}
	hosts := map[primitives.ServiceName]static.Hosts{}
	for i, name := range []primitives.ServiceName{primitives.FrontendService, primitives.HistoryService, primitives.MatchingService, primitives.WorkerService} {
		port := 27233 + i
		conf.Services[string(name)] = config.Service{RPC: config.RPC{BindOnIP: loopback, GRPCPort: port}}
		hosts[name] = static.SingleLocalHost(fmt.Sprintf("%s:%d", loopback, port))
	}
	s, err := server.NewServer(
		server.WithConfig(conf), server.ForServices(server.DefaultServices), server.WithStaticHosts(hosts),
		server.WithLogger(log.NewNoopLogger()), server.WithDynamicConfigClient(dynamicconfig.StaticClient{}),
		server.WithAuthorizer(authorization.NewNoopAuthorizer()),
		server.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return authorization.NewNoopClaimMapper() }),
	)
	if err != nil {
		return err
	}
	return s.Start()
}
