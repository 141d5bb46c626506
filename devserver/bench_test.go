package devserver

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/shirou/gopsutil/v4/process"
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
// server, and the same client and worker.
//
// Apart, the server is a process of its own, as both have it: the program coffee,
// and this test binary. Together, server, client and worker are one process, in
// which our clients need no socket. .ci/bench runs each benchmark in processes of
// its own, since a server leaves something behind, and makes a table.
//
// An order is a workflow with three activities in a row that do nothing.

// benched is a server to compare.
type benched interface {
	ClientOptions() client.Options
	Stop() error
}

// compare runs a benchmark on both servers, with both kinds of database, in each of
// the places.
func compare(b *testing.B, places []string, bench func(b *testing.B, start func() benched)) {
	for _, database := range []string{"memory", "file"} {
		file := func(b *testing.B) string {
			if database == "memory" {
				return ""
			}
			return filepath.Join(b.TempDir(), uuid.NewString())
		}
		for _, place := range places {
			for _, who := range []string{"stock", "ours"} {
				b.Run(path.Join(database, place, who), func(b *testing.B) {
					if place == "together" && who == "ours" {
						worker.SetBinaryChecksum("bench") // as the program does
					}
					bench(b, func() benched { return starts[place+" "+who](b, file(b)) })
				})
			}
		}
	}
}

// starts start a server on a file, or in memory if its name is empty.
var starts = map[string]func(b *testing.B, file string) benched{
	"together stock": func(b *testing.B, file string) benched { return startStock(b, file) },
	"together ours": func(b *testing.B, file string) benched {
		server, err := Start(context.Background(), Options{DatabaseFile: file})
		if err != nil {
			b.Fatal(err)
		}
		return server
	},
	"apart stock": func(b *testing.B, file string) benched {
		self, err := os.Executable()
		if err != nil {
			b.Fatal(err)
		}
		return startProcess(b, exec.Command(self, "-test.run", "^$", "-test.bench", "^BenchmarkServeStock$", "-test.benchtime", "1x"), stockVariable+"="+file)
	},
	"apart ours": func(b *testing.B, file string) benched {
		database := []string{"--in-memory"}
		if file != "" {
			database = []string{"--db-filename", file}
		}
		return startProcess(b, exec.Command(program(b), append([]string{"server", "--headless", "--port", "0"}, database...)...))
	},
}

// program returns the path of coffee, which .ci/bench has built.
func program(b *testing.B) string {
	b.Helper()
	if built := os.Getenv("COFFEE"); built != "" {
		return built
	}
	built := filepath.Join(b.TempDir(), "coffee")
	if said, err := exec.Command("go", "build", "-o", built, "example.com/coffee").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, said)
	}
	return built
}

// serverProcess is a server that is a process of its own.
type serverProcess struct {
	*process.Process
	command *exec.Cmd
	address string
}

// startProcess starts a server that prints a line with its address after "gRPC".
func startProcess(b *testing.B, command *exec.Cmd, variables ...string) benched {
	b.Helper()
	command.Env = append(os.Environ(), variables...)
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	s := serverProcess{command: command}
	lines := bufio.NewScanner(out)
	for s.address == "" && lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) == 2 && words[0] == "gRPC" {
			s.address = words[1]
		}
	}
	if s.address == "" {
		b.Fatalf("%s ended without an address: %v", command, command.Wait())
	}
	go io.Copy(io.Discard, out)
	if s.Process, err = process.NewProcess(int32(command.Process.Pid)); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { command.Process.Kill() })
	return s
}

func (s serverProcess) ClientOptions() client.Options {
	return client.Options{HostPort: s.address, ConnectionOptions: client.ConnectionOptions{GrpcCompression: &client.GrpcCompressionNone{}}}
}

func (s serverProcess) Stop() error {
	return errors.Join(s.command.Process.Signal(os.Interrupt), s.command.Wait())
}

// resident returns the process's memory in MiB, as the kernel counts it.
func (s serverProcess) resident(b *testing.B) float64 {
	b.Helper()
	memory, err := s.MemoryInfo()
	if err != nil {
		b.Fatal(err)
	}
	return float64(memory.RSS) / (1 << 20)
}

// processorTime returns the CPU time that the process has used.
func (s serverProcess) processorTime(b *testing.B) time.Duration {
	b.Helper()
	times, err := s.Times()
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration((times.User + times.System) * float64(time.Second))
}

// stockVariable names the environment variable that makes BenchmarkServeStock serve.
// Its value is the database's file.
const stockVariable = "DEVSERVER_BENCH_STOCK"

// BenchmarkServeStock is what a process with a stock server runs, until it is
// interrupted.
func BenchmarkServeStock(b *testing.B) {
	file, ok := os.LookupEnv(stockVariable)
	if !ok {
		b.Skip("it is for a process of its own")
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	server := startStock(b, file)
	fmt.Println("gRPC", server.address)
	<-interrupted
	if err := server.Stop(); err != nil {
		b.Fatal(err)
	}
}

// stock is a server as "temporal server start-dev" sets it up.
type stock struct {
	temporal.Server
	address string
}

func (s stock) ClientOptions() client.Options {
	return client.Options{HostPort: s.address, ConnectionOptions: client.ConnectionOptions{GrpcCompression: &client.GrpcCompressionNone{}}}
}

// startStock does what start-dev does (internal/devserver in the Temporal CLI's
// source): four services on ports of their own, the HTTP API and Prometheus on
// free ports, and very few settings.
func startStock(b testing.TB, file string) stock {
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
	o, err := Options{DatabaseFile: file}.withDefaults()
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
		"frontend.enableServerVersionCheck":              false, // see TestMain
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
	must(s.waitReady(context.Background(), nil))
	return stock{server, s.address}
}

var apart, both = []string{"apart"}, []string{"apart", "together"}

// BenchmarkStart measures a start, from nothing to ready.
func BenchmarkStart(b *testing.B) {
	compare(b, both, func(b *testing.B, start func() benched) {
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
	compare(b, both, func(b *testing.B, start func() benched) {
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
	compare(b, both, func(b *testing.B, start func() benched) {
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
	compare(b, both, func(b *testing.B, start func() benched) {
		server := start()
		c := orderClient(b, server)
		w := orderWorker(b, c)
		runOrder(b, c, "warm-up")
		began, round := time.Now(), 0
		for b.Loop() {
			atATime(orders, concurrency, func(i int) { runOrder(b, c, fmt.Sprintf("%d-%d", round, i)) })
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

// BenchmarkIdle measures the CPU time of a server that nobody uses.
func BenchmarkIdle(b *testing.B) {
	compare(b, apart, func(b *testing.B, start func() benched) {
		server := start().(serverProcess)
		time.Sleep(10 * time.Second) // until the start is over
		var busy, all time.Duration
		for b.Loop() {
			began, cpu := time.Now(), server.processorTime(b)
			time.Sleep(30 * time.Second)
			busy += server.processorTime(b) - cpu
			all += time.Since(began)
		}
		b.ReportMetric(100*busy.Seconds()/all.Seconds(), "cpu-percent")
		if err := server.Stop(); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkMemory measures a server's memory: when it is ready, and after 600 orders
// at fifty at a time.
func BenchmarkMemory(b *testing.B) {
	compare(b, apart, func(b *testing.B, start func() benched) {
		for b.Loop() {
			server := start().(serverProcess)
			b.ReportMetric(server.resident(b), "ready-MiB")
			c := orderClient(b, server)
			w := orderWorker(b, c)
			atATime(600, 50, func(i int) { runOrder(b, c, fmt.Sprint(i)) })
			b.ReportMetric(server.resident(b), "loaded-MiB")
			benchStop(b, server, c, w)
		}
	})
}

// BenchmarkBacklog measures the memory of our server with ten thousand orders that
// wait for a worker, when they are done, and ten minutes later.
func BenchmarkBacklog(b *testing.B) {
	const orders = 10_000
	for _, database := range []string{"memory", "file"} {
		b.Run(database, func(b *testing.B) {
			file := ""
			if database == "file" {
				file = filepath.Join(b.TempDir(), uuid.NewString())
			}
			for b.Loop() {
				server := starts["apart ours"](b, file).(serverProcess)
				c := orderClient(b, server)
				placed := make(chan client.WorkflowRun, orders)
				atATime(orders, 50, func(i int) {
					run, err := c.ExecuteWorkflow(context.Background(), client.StartWorkflowOptions{ID: fmt.Sprint(i), TaskQueue: "orders"}, threeSteps)
					if err != nil {
						b.Error(err)
						return
					}
					placed <- run
				})
				close(placed)
				b.ReportMetric(server.resident(b), "waiting-MiB")
				w := orderWorker(b, c)
				began := time.Now()
				for run := range placed {
					if err := run.Get(context.Background(), nil); err != nil {
						b.Error(err)
					}
				}
				b.ReportMetric(orders/time.Since(began).Seconds(), "orders/s")
				b.ReportMetric(server.resident(b), "done-MiB")
				time.Sleep(10 * time.Minute)
				b.ReportMetric(server.resident(b), "later-MiB")
				benchStop(b, server, c, w)
			}
		})
	}
}

func reportMedian(b *testing.B, took []time.Duration, unit string) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, unit)
	b.ReportMetric(0, "ns/op") // it would include what is not measured
}

func orderClient(b *testing.B, server benched) client.Client {
	b.Helper()
	options := server.ClientOptions()
	options.Logger = quiet{}
	c, err := client.Dial(options)
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

// atATime calls do n times, some of them at the same time.
func atATime(n, concurrency int, do func(i int)) {
	slots := make(chan struct{}, concurrency)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			do(i)
			<-slots
		})
	}
	wg.Wait()
}

// quiet is a logger for clients whose server stops under them.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}
