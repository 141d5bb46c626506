package devserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	plugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
)

// The benchmarks compare our server, as "coffee server" runs it, with stock, which
// is set up as "temporal server start-dev" sets itself up: the same Temporal
// server, the same client, in the same process. .ci/bench runs each benchmark in a
// process of its own, since a server leaves something behind, and makes a table.
//
// An order is a workflow with three activities in a row that do nothing.

func compare(b *testing.B, bench func(b *testing.B, start func() benched)) {
	for _, database := range []string{"memory", "file"} {
		options := func(b *testing.B) (o Options) {
			if database == "file" {
				o.DatabaseFile = filepath.Join(b.TempDir(), uuid.NewString())
			}
			return o
		}
		b.Run(database+"/stock", func(b *testing.B) {
			bench(b, func() benched { return startStock(b, options(b)) })
		})
		b.Run(database+"/ours", func(b *testing.B) {
			// The program does this for itself; the package does not.
			worker.SetBinaryChecksum("bench")
			defer debug.SetGCPercent(debug.SetGCPercent(400))
			bench(b, func() benched {
				b.Helper()
				server, err := Start(context.Background(), options(b))
				if err != nil {
					b.Fatal(err)
				}
				return server
			})
		})
	}
}

// benched is a server to compare.
type benched interface {
	Address() string
	Stop() error
}

// stock is a server as "temporal server start-dev" sets it up.
type stock struct {
	temporal.Server
	address string
}

func (s stock) Address() string { return s.address }

// startStock does what start-dev does (internal/devserver in the Temporal CLI's
// source): four services on ports of their own, the HTTP API and Prometheus on
// free ports, and very few settings.
func startStock(b *testing.B, o Options) benched {
	b.Helper()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	port := func() int {
		for { // outside the range for outgoing connections
			listener, err := net.Listen("tcp", hostPort(loopback, 20_000+rand.IntN(12_000)))
			if err == nil {
				must(listener.Close())
				return listener.Addr().(*net.TCPAddr).Port
			}
		}
	}
	o, err := o.withDefaults()
	must(err)
	o.HTTPPort, o.MetricsPort = port(), port()
	id := identity{ClusterID: uuid.NewString(), DatabaseName: cmp.Or(o.DatabaseFile, "stock-"+uuid.NewString())}
	frontend := port()
	conf := serverConfig(o, id, frontend, "")
	sql := conf.Persistence.DataStores[storeName].SQL
	sql.PluginName, sql.ConnectAttributes = plugin.PluginName, map[string]string{"mode": "memory", "cache": "shared"}
	if o.DatabaseFile != "" {
		sql.ConnectAttributes = map[string]string{"mode": "rwc"}
		must(sqlite.SetupSchema(sql))
	}
	namespace, err := sqlite.NewNamespaceConfig(clusterName, "default", false, nil)
	must(err)
	must(sqlite.CreateNamespaces(sql, namespace))
	hosts := staticHosts(o, frontend)
	for name := range addresses {
		port := port()
		hosts[name] = static.SingleLocalHost(hostPort(loopback, port))
		conf.Services[string(name)] = config.Service{RPC: config.RPC{BindOnIP: loopback, GRPCPort: port}}
	}
	settings := dynamicconfig.StaticClient{}
	for key, value := range map[string]any{
		"history.hostLevelCacheMaxSize":                  8096,
		"frontend.namespaceRPS.visibility":               100,
		"system.forceSearchAttributesCacheRefreshOnRead": true,
		"system.forceNexusEndpointRefreshOnRead":         true,
		"frontend.persistenceMaxQPS":                     10000,
		"history.persistenceMaxQPS":                      45000,
	} {
		settings[dynamicconfig.MakeKey(key)] = value
	}
	server, err := temporal.NewServer(
		temporal.WithConfig(conf),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(log.NewNoopLogger()),
		temporal.WithDynamicConfigClient(settings),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return authorization.NewNoopClaimMapper() }),
	)
	must(err)
	must(server.Start())
	s := &Server{options: o, address: hostPort(loopback, frontend), alarm: &alarm{failed: make(chan error, 1)}}
	must(s.waitReady(context.Background()))
	return stock{server, s.address}
}

// BenchmarkStart measures a start, from nothing to ready.
func BenchmarkStart(b *testing.B) {
	compare(b, func(b *testing.B, start func() benched) {
		var took []time.Duration
		for b.Loop() {
			began := time.Now()
			server := start()
			took = append(took, time.Since(began))
			if err := server.Stop(); err != nil {
				b.Fatal(err)
			}
		}
		reportMedian(b, took, "start-ms")
	})
}

// BenchmarkStop measures a stop with a worker that polls.
func BenchmarkStop(b *testing.B) {
	compare(b, func(b *testing.B, start func() benched) {
		var took []time.Duration
		for b.Loop() {
			server := start()
			c := orderClient(b, server)
			w := orderWorker(b, c)
			runOrder(b, c, "first")
			began := time.Now()
			if err := server.Stop(); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(began))
			w.Stop()
			c.Close()
		}
		reportMedian(b, took, "stop-ms")
	})
}

// BenchmarkOneAtATime measures how long an order takes when nothing else runs.
func BenchmarkOneAtATime(b *testing.B) {
	compare(b, func(b *testing.B, start func() benched) {
		server := start()
		c := orderClient(b, server)
		w := orderWorker(b, c)
		for i := range 5 {
			runOrder(b, c, fmt.Sprint("warm-up-", i))
		}
		var took []time.Duration
		n := 0
		for b.Loop() {
			began := time.Now()
			runOrder(b, c, fmt.Sprint(n))
			took = append(took, time.Since(began))
			n++
		}
		reportMedian(b, took, "order-ms")
		benchStop(b, server, c, w)
	})
}

// BenchmarkFiftyAtATime measures how many orders complete per second when fifty
// are always under way.
func BenchmarkFiftyAtATime(b *testing.B) {
	const orders, concurrency = 250, 50
	compare(b, func(b *testing.B, start func() benched) {
		server := start()
		c := orderClient(b, server)
		w := orderWorker(b, c)
		runOrder(b, c, "warm-up")
		began, round := time.Now(), 0
		for b.Loop() {
			slots := make(chan struct{}, concurrency)
			var wg sync.WaitGroup
			for i := range orders {
				slots <- struct{}{}
				wg.Go(func() {
					runOrder(b, c, fmt.Sprintf("%d-%d", round, i))
					<-slots
				})
			}
			wg.Wait()
			round++
		}
		b.ReportMetric(float64(round*orders)/time.Since(began).Seconds(), "orders/s")
		benchStop(b, server, c, w)
	})
}

// BenchmarkFinished measures what the finished orders in a database cost the next
// order, and lists of orders.
func BenchmarkFinished(b *testing.B) {
	for _, finished := range []int{1_000, 10_000, 50_000} {
		b.Run(fmt.Sprint(finished), func(b *testing.B) {
			options := Options{DatabaseFile: filepath.Join(b.TempDir(), "x.db")}
			benchFinish(b, options, finished)
			server, err := Start(context.Background(), options)
			if err != nil {
				b.Fatal(err)
			}
			c := orderClient(b, server)
			w := orderWorker(b, c)
			for i := range 5 {
				runOrder(b, c, fmt.Sprint("warm-up-", i))
			}
			var order, list, open, one, count []time.Duration
			timed := func(took *[]time.Duration, what func() error) {
				began := time.Now()
				if err := what(); err != nil {
					b.Fatal(err)
				}
				*took = append(*took, time.Since(began))
			}
			lists := func(query string, size int32) func() error {
				return func() error {
					_, err := c.ListWorkflow(context.Background(), &workflowservice.ListWorkflowExecutionsRequest{Query: query, PageSize: size})
					return err
				}
			}
			n := 0
			for b.Loop() {
				timed(&order, func() error { runOrder(b, c, fmt.Sprint("next-", n)); return nil })
				timed(&list, lists("", 20))
				timed(&open, lists("ExecutionStatus = 'Running'", 20))
				timed(&one, lists("WorkflowId = '7-3'", 20))
				timed(&count, func() error {
					_, err := c.CountWorkflow(context.Background(), &workflowservice.CountWorkflowExecutionsRequest{Query: "GROUP BY ExecutionStatus"})
					return err
				})
				n++
			}
			reportMedian(b, order, "order-ms")
			reportMedian(b, list, "list-ms")
			reportMedian(b, open, "list-running-ms")
			reportMedian(b, one, "list-id-ms")
			reportMedian(b, count, "count-ms")
			benchStop(b, server, c, w)
		})
	}
}

// benchFinish fills a new database with finished orders: a hundred real ones, and
// copies of their rows.
func benchFinish(b *testing.B, options Options, finished int) {
	b.Helper()
	const real = 100
	server, err := Start(context.Background(), options)
	if err != nil {
		b.Fatal(err)
	}
	c := orderClient(b, server)
	w := orderWorker(b, c)
	for i := range real {
		runOrder(b, c, fmt.Sprint(i))
	}
	db, err := openSQLite(options.DatabaseFile)
	if err != nil {
		b.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var closed int
		if err := db.QueryRow(`SELECT count(*) FROM executions_visibility WHERE close_time IS NOT NULL`).Scan(&closed); err != nil {
			b.Fatal(err)
		}
		if closed == real {
			break
		}
		if time.Now().After(deadline) {
			b.Fatalf("%d orders are listed as closed", closed)
		}
	}
	benchStop(b, server, c, w)
	tx, err := db.Begin()
	if err != nil {
		b.Fatal(err)
	}
	for _, table := range []string{"executions", "current_executions", "history_node", "history_tree", "executions_visibility"} {
		rows, err := tx.Query(`SELECT name, type FROM pragma_table_xinfo($1) WHERE hidden = 0`, table)
		if err != nil {
			b.Fatal(err)
		}
		var columns, values []string
		for rows.Next() {
			var name, kind string
			if err := rows.Scan(&name, &kind); err != nil {
				b.Fatal(err)
			}
			columns = append(columns, name)
			switch {
			case name == "workflow_id":
				name = `workflow_id || '-' || $1`
			case name == "run_id" && kind == "CHAR(64)":
				name = `lower(hex(randomblob(16)))`
			case name == "run_id" || name == "tree_id":
				name = `randomblob(16)`
			}
			values = append(values, name)
		}
		if err := rows.Err(); err != nil {
			b.Fatal(err)
		}
		condition := ""
		if slices.Contains(columns, "workflow_id") {
			condition = ` WHERE workflow_id NOT LIKE '%-%'`
		}
		if _, err := tx.Exec(`CREATE TEMP TABLE copied AS SELECT ` + strings.Join(columns, ", ") + ` FROM ` + table + condition); err != nil {
			b.Fatal(err)
		}
		for i := range finished/real - 1 {
			if _, err := tx.Exec(`INSERT INTO `+table+` (`+strings.Join(columns, ", ")+`) SELECT `+strings.Join(values, ", ")+` FROM copied`, i); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := tx.Exec(`DROP TABLE copied`); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(tx.Commit(), db.Close()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkIdle measures what an idle server costs: the process's CPU time, and
// its memory in use.
func BenchmarkIdle(b *testing.B) {
	compare(b, func(b *testing.B, start func() benched) {
		before := inUse()
		server := start()
		memory := inUse() - before
		time.Sleep(10 * time.Second) // until the start is over
		var busy, all time.Duration
		for b.Loop() {
			began, cpu := time.Now(), cpuTime(b)
			time.Sleep(20 * time.Second)
			busy += cpuTime(b) - cpu
			all += time.Since(began)
		}
		b.ReportMetric(float64(memory)/(1<<20), "MiB")
		b.ReportMetric(100*busy.Seconds()/all.Seconds(), "cpu-percent")
		if err := server.Stop(); err != nil {
			b.Fatal(err)
		}
	})
}

func reportMedian(b *testing.B, took []time.Duration, unit string) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, unit)
	b.ReportMetric(0, "ns/op") // it would include what is not measured
}

func orderClient(b *testing.B, server benched) client.Client {
	b.Helper()
	c, err := client.Dial(client.Options{HostPort: server.Address(), Logger: quiet{}})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func orderWorker(b *testing.B, c client.Client) worker.Worker {
	b.Helper()
	w := worker.New(c, "orders", worker.Options{})
	w.RegisterWorkflow(threeSteps)
	w.RegisterActivity(step)
	if err := w.Start(); err != nil {
		b.Fatal(err)
	}
	return w
}

func threeSteps(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	for range 3 {
		if err := workflow.ExecuteActivity(ctx, step).Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

func step(context.Context) error { return nil }

func runOrder(b *testing.B, c client.Client, id string) {
	run, err := c.ExecuteWorkflow(context.Background(), client.StartWorkflowOptions{ID: id, TaskQueue: "orders"}, threeSteps)
	if err == nil {
		err = run.Get(context.Background(), nil)
	}
	if err != nil {
		b.Error(err)
	}
}

func benchStop(b *testing.B, server benched, c client.Client, w worker.Worker) {
	b.Helper()
	w.Stop()
	c.Close()
	if err := server.Stop(); err != nil {
		b.Fatal(err)
	}
}

func inUse() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapInuse + stats.StackInuse)
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	used, err := processorTime()
	if err != nil {
		b.Fatal(err)
	}
	return used
}

// quiet is a logger for clients whose server stops under them.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}
