//go:build !noserver

package devserver

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	_ "unsafe" // for go:linkname

	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/primitives"

	"example.com/coffee/devserver/internal/store"
	"example.com/coffee/internal/sqlitefile"
	"example.com/coffee/internal/typo"
)

const (
	clusterName = "active"
	storeName   = "sqlite"
	loopback    = "127.0.0.1"
)

// identity distinguishes one server from another. It stays with the database.
type identity struct {
	// ClusterID is a UUID.
	ClusterID string
	// DatabaseName is the path of the file, or the name of the database in memory:
	// a process can have several.
	DatabaseName string
}

// addresses are those of the services that are reached inside the process. They
// are only names: nothing listens there.
var addresses = map[primitives.ServiceName]string{
	primitives.HistoryService:  loopback + ":1",
	primitives.MatchingService: loopback + ":2",
	primitives.WorkerService:   loopback + ":3",
}

// inProcessPort is the same for a frontend that is reached inside the process.
const inProcessPort = 4

// ServerConfig is the configuration of a Temporal server.
type ServerConfig = config.Config

// serverConfig returns the configuration of the Temporal server. It is a pure
// function: it opens nothing.
func serverConfig(o Options, id identity, frontendPort int, metricsSocket string) *config.Config {
	archivalOff := config.Archival{
		History:    config.HistoryArchival{State: "disabled"},
		Visibility: config.VisibilityArchival{State: "disabled"},
	}
	conf := &config.Config{
		Global: config.Global{
			TLS:        systemTLS(o.TLS),
			Membership: config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: loopback},
		},
		Persistence: config.Persistence{
			DefaultStore:     storeName,
			VisibilityStore:  storeName,
			NumHistoryShards: 1,
			DataStores:       map[string]config.DataStore{storeName: {SQL: sqlConfig(id)}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{clusterName: {
				Enabled:                true,
				InitialFailoverVersion: 1,
				RPCAddress:             hostPort(dialable(o.IP), frontendPort),
				ClusterID:              id.ClusterID,
			}},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services: map[string]config.Service{
			string(primitives.FrontendService): {RPC: config.RPC{BindOnIP: o.IP, GRPCPort: frontendPort, HTTPPort: o.HTTPPort}},
			string(primitives.HistoryService):  {},
			string(primitives.MatchingService): {},
			string(primitives.WorkerService):   {},
		},
		Archival: archivalOff,
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
		PublicClient: config.PublicClient{HostPort: hostPort(dialable(o.IP), frontendPort)},
	}
	if metricsSocket != "" {
		conf.Global.Metrics = &metrics.Config{Prometheus: &metrics.PrometheusConfig{
			ListenNetwork: "unix",
			ListenAddress: metricsSocket,
			HandlerPath:   "/metrics",
		}}
		if o.MetricTypes != nil {
			conf.Global.Metrics.ExcludeTags = map[string][]string{"workflowType": o.MetricTypes, "activityType": o.MetricTypes}
		}
	}
	if o.Configure != nil {
		o.Configure(conf)
	}
	return conf
}

// sqlConfig returns the configuration of the server's database, which is open
// already.
func sqlConfig(id identity) *config.SQL {
	return &config.SQL{PluginName: store.PluginName, DatabaseName: id.DatabaseName}
}

// databaseDSNs returns how the database is opened: for writing, and for users'
// queries. queries is empty if there is only one connection: for a database in
// memory, without a write-ahead log, or if the user has set how the file is
// locked.
func databaseDSNs(o Options, id identity) (dsn, queries string) {
	if o.DatabaseFile == "" {
		return sqlitefile.DSN(id.DatabaseName, "memory", pragmas(o)), ""
	}
	all := pragmas(o)
	_, locking := all["locking_mode"]
	if all["journal_mode"] == "wal" && !locking {
		queries = sqlitefile.DSN(id.DatabaseName, "rw", all, map[string]string{"query_only": "1"})
	}
	// SQLite's default of 2 MiB makes orders slower as the file grows; more than this
	// makes them no faster (BenchmarkFinished). The other connections keep it, because
	// they have to drop their cache whenever this one has written.
	return sqlitefile.DSN(id.DatabaseName, "rw", map[string]string{"cache_size": "-16384"}, all), queries // KiB
}

// pragmas returns the pragmas to set on each connection. The user's override ours.
func pragmas(o Options) map[string]string {
	pragmas := map[string]string{}
	if o.DatabaseFile != "" {
		pragmas["journal_mode"] = "wal"  // one fsync per commit instead of three
		pragmas["synchronous"] = "full"  // a power loss loses nothing
		pragmas["busy_timeout"] = "5000" // milliseconds
		if syncsReplies(o) {
			pragmas["synchronous"] = "normal" // the syncer does the rest
		}
	}
	maps.Copy(pragmas, o.SQLitePragmas)
	return pragmas
}

// staticHosts tells each service where the others are.
func staticHosts(o Options, frontendPort int) map[primitives.ServiceName]static.Hosts {
	hosts := map[primitives.ServiceName]static.Hosts{
		primitives.FrontendService: static.SingleLocalHost(hostPort(dialable(o.IP), frontendPort)),
	}
	for name, address := range addresses {
		hosts[name] = static.SingleLocalHost(address)
	}
	return hosts
}

// registry has all settings of the Temporal server. Temporal exports no list of their names.
//
//go:linkname registry go.temporal.io/server/common/dynamicconfig.globalRegistry
var registry struct {
	settings map[dynamicconfig.Key]dynamicconfig.GenericSetting
	queried  atomic.Bool
}

// CheckDynamicConfig returns an error unless the Temporal server has the settings, and they
// take the values. The server itself would pass over those that are wrong.
func CheckDynamicConfig(values map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		setting := registry.settings[dynamicconfig.MakeKey(key)]
		if setting == nil {
			var names []string
			for known := range registry.settings {
				names = append(names, known.String())
			}
			slices.Sort(names)
			if near, ok := typo.Nearest(strings.ToLower(key), names); ok {
				return fmt.Errorf("the Temporal server has no setting %q; did you mean %s?", key, near)
			}
			return fmt.Errorf("the Temporal server has no setting %q", key)
		}
		if err := setting.Validate(values[key]); err != nil {
			return fmt.Errorf("the setting %s cannot be %v: %w", key, values[key], err)
		}
	}
	return nil
}

const unlimited = 1_000_000

// singleMachine are the settings that turn a server made for a cluster into one for a
// single machine.
var singleMachine = map[string]any{
	// Each hop of a workflow waits for the transfer queue. Its default of
	// 20 polls a second means up to 50 ms of waiting per hop.
	"history.transferProcessorMaxPollRPS": 2000,
	// The same for timers that are due at once, as when time is skipped.
	"history.timerProcessorMaxPollRPS": 2000,
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
	// What is kept of workflows to save reading it again: some twenty kilobytes
	// each of ours. Temporal can bound it in bytes as well, but then it reads sizes
	// that others are writing (lru.Release in common/cache).
	"history.hostLevelCacheMaxSize": 2000,
	"history.cacheTTL":              5 * time.Minute,
	// How soon a version of a worker deployment is seen to be drained. The defaults
	// are three and five minutes.
	"matching.wv.VersionDrainageStatusVisibilityGracePeriod": 5 * time.Second,
	"matching.wv.VersionDrainageStatusRefreshInterval":       5 * time.Second,
	// Otherwise the server asks a host of Temporal's, once a day, for newer versions.
	"frontend.enableServerVersionCheck": false,
	// Features that temporal server start-dev turns on as well.
	"system.forceNexusEndpointRefreshOnRead":                true, // a new endpoint is known at once
	"history.enableStandaloneActivityOperatorCommands":      true,
	"frontend.enableBatchOperationsForStandaloneActivities": true,
	// What other clusters would be sent; there are none. Temporal keeps 64 KiB of it
	// in any case.
	"history.xdcCacheMaxSizeBytes": 0,
	"history.cacheBackgroundEvict": dynamicconfig.CacheBackgroundEvictSettings{Enabled: true, LoopInterval: time.Minute, MaxEntryPerCall: unlimited},
	// A write may take its time on a machine that is busy with something else.
	"history.shardIOTimeout": 30 * time.Second,
	// Under load requests wait for each other. That is not worth logging here.
	"rpc.slowRequestLoggingThreshold": time.Hour,
	// Statistics that only a fleet's operators read.
	"system.persistenceHealthSignalMetricsEnabled":     false,
	"system.persistenceHealthSignalAggregationEnabled": false,
	"system.historyHealthSignalMetricsEnabled":         false,
	// Background work for clusters that live for years.
	"worker.taskQueueScannerEnabled": false,
	"worker.historyScannerEnabled":   false,
	// The history service closes a workflow's children itself.
	"system.enableParentClosePolicyWorker": false,
	// Goroutines that wait for tasks. By default there are 2,200 of them, for
	// one connection to the database.
	"history.transferProcessorSchedulerWorkerCount":               64,
	"history.timerProcessorSchedulerWorkerCount":                  64,
	"history.visibilityProcessorSchedulerWorkerCount":             64,
	"history.ReplicationProcessorSchedulerWorkerCount":            1,
	"history.ReplicationLowPriorityProcessorSchedulerWorkerCount": 1,
}

// dynamicConfig returns the server's settings. The user's values override ours.
func dynamicConfig(o Options) dynamicconfig.StaticClient {
	values := maps.Clone(singleMachine)
	if o.TimeSkipping {
		values["frontend.WorkflowTimeSkippingEnabled"] = true
		values["system.workflowTimeSkippingEnabled"] = true // its name in later servers
		// Timers fire up to this much later, so each skip takes as long.
		values["history.timerProcessorMaxTimeShift"] = 5 * time.Millisecond
	}
	maps.Copy(values, callbackSettings(o))
	maps.Copy(values, o.DynamicConfig)
	client := make(dynamicconfig.StaticClient, len(values))
	for key, value := range values {
		client[dynamicconfig.MakeKey(key)] = value
	}
	return client
}
