package devserver

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
)

const (
	clusterName = "active"
	storeName   = "sqlite"
	loopback    = "127.0.0.1"
)

// identity is what makes one server another than the next: it stays with the
// database.
type identity struct {
	// ClusterID is a UUID.
	ClusterID string
	// DatabaseName is the path of the file, or the name of the database in
	// memory, of which a process can have several.
	DatabaseName string
}

// ports are the ports that the services listen on. The internal ones are
// always on loopback.
type ports struct {
	frontend, history, matching, worker int
}

// serverConfig is the configuration of the Temporal server. It is a pure
// function: it opens nothing.
func serverConfig(o Options, id identity, p ports) *config.Config {
	service := func(ip string, port int) config.Service {
		return config.Service{RPC: config.RPC{BindOnIP: ip, GRPCPort: port}}
	}
	frontend := service(o.IP, p.frontend)
	frontend.RPC.HTTPPort = o.HTTPPort

	archivalOff := config.Archival{
		History:    config.HistoryArchival{State: "disabled"},
		Visibility: config.VisibilityArchival{State: "disabled"},
	}
	conf := &config.Config{
		Global: config.Global{
			Membership: config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: loopback},
		},
		Persistence: config.Persistence{
			DefaultStore:     storeName,
			VisibilityStore:  storeName,
			NumHistoryShards: 1,
			DataStores:       map[string]config.DataStore{storeName: {SQL: sqlConfig(o, id)}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{clusterName: {
				Enabled:                true,
				InitialFailoverVersion: 1,
				RPCAddress:             hostPort(dialable(o.IP), p.frontend),
				ClusterID:              id.ClusterID,
			}},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services: map[string]config.Service{
			string(primitives.FrontendService): frontend,
			string(primitives.HistoryService):  service(loopback, p.history),
			string(primitives.MatchingService): service(loopback, p.matching),
			string(primitives.WorkerService):   service(loopback, p.worker),
		},
		Archival: archivalOff,
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
		PublicClient: config.PublicClient{HostPort: hostPort(dialable(o.IP), p.frontend)},
	}
	if o.MetricsPort != 0 {
		conf.Global.Metrics = &metrics.Config{Prometheus: &metrics.PrometheusConfig{
			ListenAddress: hostPort(o.IP, o.MetricsPort),
			HandlerPath:   "/metrics",
		}}
	}
	return conf
}

// sqlConfig says how the server opens its database.
func sqlConfig(o Options, id identity) *config.SQL {
	attributes := map[string]string{"mode": "memory", "cache": "shared"}
	name := id.DatabaseName
	if o.DatabaseFile != "" {
		// The server puts the name into a URI as it is.
		name = (&url.URL{Path: filepath.ToSlash(id.DatabaseName)}).EscapedPath()
		attributes = map[string]string{
			"mode":         "rw",
			"journal_mode": "wal",  // one fsync per commit instead of three
			"synchronous":  "full", // a power loss loses nothing
		}
	}
	maps.Copy(attributes, o.SQLitePragmas)
	return &config.SQL{
		PluginName:        sqlite.PluginName,
		DatabaseName:      name,
		ConnectAttributes: attributes,
	}
}

// staticHosts tells each service where the others are.
func staticHosts(o Options, p ports) map[primitives.ServiceName]static.Hosts {
	return map[primitives.ServiceName]static.Hosts{
		primitives.FrontendService: static.SingleLocalHost(hostPort(dialable(o.IP), p.frontend)),
		primitives.HistoryService:  static.SingleLocalHost(hostPort(loopback, p.history)),
		primitives.MatchingService: static.SingleLocalHost(hostPort(loopback, p.matching)),
		primitives.WorkerService:   static.SingleLocalHost(hostPort(loopback, p.worker)),
	}
}

// dynamicConfig are the settings that make a server for one machine out of one
// that is made for a cluster. The user's values win.
func dynamicConfig(o Options) dynamicconfig.StaticClient {
	const unlimited = 1_000_000
	values := map[string]any{
		// Each hop of a workflow waits for the transfer queue. Its default of
		// 20 polls a second means up to 50 ms of waiting per hop.
		"history.transferProcessorMaxPollRPS": 2000,
		// Limits that protect a shared cluster from its tenants.
		"frontend.rps":                     unlimited,
		"frontend.namespaceRPS":            unlimited,
		"frontend.namespaceRPS.visibility": unlimited,
		"frontend.namespaceCount":          unlimited,
		"history.rps":                      unlimited,
		"matching.rps":                     unlimited,
		"frontend.persistenceMaxQPS":       unlimited,
		"history.persistenceMaxQPS":        unlimited,
		"matching.persistenceMaxQPS":       unlimited,
		"worker.persistenceMaxQPS":         unlimited,
		// Partitions spread a task queue over hosts; there is one host.
		"matching.numTaskqueueReadPartitions":  1,
		"matching.numTaskqueueWritePartitions": 1,
		"history.hostLevelCacheMaxSize":        8096,
		// Under load requests wait for each other. That is no news here.
		"rpc.slowRequestLoggingThreshold": time.Hour,
		// Statistics that only a fleet's operators read.
		"system.persistenceHealthSignalMetricsEnabled":     false,
		"system.persistenceHealthSignalAggregationEnabled": false,
		"system.historyHealthSignalMetricsEnabled":         false,
		// Background work for clusters that live for years.
		"worker.taskQueueScannerEnabled": false,
		"worker.historyScannerEnabled":   false,
	}
	if o.HTTPPort != 0 && IsLoopback(o.IP) {
		// Without it a web page could reach the API by DNS rebinding.
		port := strconv.Itoa(o.HTTPPort)
		values["frontend.httpAllowedHosts"] = []any{"localhost:" + port, net.JoinHostPort(o.IP, port)}
	}
	maps.Copy(values, o.DynamicConfig)
	client := make(dynamicconfig.StaticClient, len(values))
	for key, value := range values {
		client[dynamicconfig.MakeKey(key)] = value
	}
	return client
}

func hostPort(ip string, port int) string { return net.JoinHostPort(ip, fmt.Sprint(port)) }
