//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"
)

// cluster is a cluster and what it is made of.
type cluster struct {
	dir, source                     string
	port, shards, partitions        int
	frontends, histories, matchings int

	postgres string // the directory of PostgreSQL's programs
	nodes    []*process
	metrics  []string // the URLs of the nodes' metrics
}

// Offsets of the ports from the first one. Nodes of a service are numbered from 0.
const (
	postgresPort = 0
	historyPort  = 20
	matchingPort = 30
	workerPort   = 40
	// A node has its membership port and that of its metrics besides.
	membershipOffset = 100
	metricsOffset    = 200
	// Clients connect to the frontends.
	frontendPort = 10
)

func (c *cluster) run(ctx context.Context) (err error) {
	if err := c.prepare(ctx); err != nil {
		return err
	}
	defer func() {
		for _, node := range c.nodes {
			node.stop()
		}
		for _, node := range c.nodes {
			<-node.done
		}
	}()
	if err := c.start("postgres", c.postgresCommand()); err != nil {
		return err
	}
	if err := c.createDatabases(ctx); err != nil {
		return err
	}
	count := map[string]int{"frontend": c.frontends, "history": c.histories, "matching": c.matchings, "worker": 1}
	for _, service := range services {
		for i := range count[service.name] {
			if err := c.startNode(service.name, i, c.port+service.port+i); err != nil {
				return err
			}
		}
	}
	if err := c.awaitReady(ctx); err != nil {
		return err
	}
	env := fmt.Sprintf("export TEMPORAL_ADDRESS=%s\nexport COFFEE_LEDGER=%s\nexport CLUSTER_METRICS=%s\n",
		strings.Join(c.addresses(), ","), c.url("ledger"), strings.Join(c.metrics, ","))
	if err := os.WriteFile(filepath.Join(c.dir, "env"), []byte(env), 0o644); err != nil {
		return err
	}
	fmt.Printf("%d nodes are ready:\n%s", len(c.nodes)-1, env)
	<-ctx.Done()
	return nil
}

// prepare finds and builds what a cluster needs.
func (c *cluster) prepare(ctx context.Context) (err error) {
	if c.dir, err = filepath.Abs(c.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	if entries, err := os.ReadDir(c.dir); err != nil || len(entries) > 0 {
		return errors.Join(err, fmt.Errorf("%s is not empty", c.dir))
	}
	if c.postgres, err = findPostgres(); err != nil {
		return err
	}
	// The module's own go.sum has the sums of these, because go.mod calls them tools.
	for program, path := range map[string]string{"temporal-server": "go.temporal.io/server/cmd/server", "temporal-sql": "go.temporal.io/server/cmd/tools/sql"} {
		if err := command(c.goCommand(ctx, "build", "-o", filepath.Join(c.dir, program), path)); err != nil {
			return err
		}
	}
	return c.initPostgres(ctx)
}

// goCommand returns a command of Go's that runs in the source tree.
func (c *cluster) goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = c.source
	return cmd
}

// addresses returns those of the frontends.
func (c *cluster) addresses() (addresses []string) {
	for i := range c.frontends {
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", c.port+frontendPort+i))
	}
	return addresses
}

// start starts a process, and keeps it running.
func (c *cluster) start(name string, command func() *exec.Cmd) error {
	p := &process{name: name, log: filepath.Join(c.dir, name+".log"), pid: filepath.Join(c.dir, name+".pid"), command: command, done: make(chan struct{})}
	if err := p.start(); err != nil {
		return err
	}
	c.nodes = append(c.nodes, p)
	return nil
}

// services are Temporal's, with the offset of their first node's port, in the order in
// which they start.
var services = []struct {
	name string
	port int
}{{"history", historyPort}, {"matching", matchingPort}, {"frontend", frontendPort}, {"worker", workerPort}}

// startNode starts a node of one of Temporal's services, with a configuration of its
// own.
func (c *cluster) startNode(service string, number, port int) error {
	name := fmt.Sprintf("%s-%d", service, number)
	config := filepath.Join(c.dir, name)
	if err := os.Mkdir(config, 0o755); err != nil {
		return err
	}
	dynamic := fmt.Sprintf("matching.numTaskqueueReadPartitions:\n- value: %d\nmatching.numTaskqueueWritePartitions:\n- value: %d\n", c.partitions, c.partitions)
	for file, content := range map[string]string{"node.yaml": c.config(service, port, config), "dynamic.yaml": dynamic} {
		if err := os.WriteFile(filepath.Join(config, file), []byte(content), 0o644); err != nil {
			return err
		}
	}
	c.metrics = append(c.metrics, fmt.Sprintf("http://127.0.0.1:%d/metrics", port+metricsOffset))
	return c.start(name, func() *exec.Cmd {
		return exec.Command(filepath.Join(c.dir, "temporal-server"), "--config-file", filepath.Join(config, "node.yaml"), "--allow-no-auth", "start", "--service", service)
	})
}

// config returns the configuration of a node: its own ports, and what all nodes share.
// The others' ports only say that there are such services.
func (c *cluster) config(service string, port int, dir string) string {
	var ports strings.Builder
	for _, other := range services {
		p := c.port + other.port
		if other.name == service {
			p = port
		}
		fmt.Fprintf(&ports, "\n  %s: {rpc: {grpcPort: %d, membershipPort: %d, bindOnIP: 127.0.0.1}}", other.name, p, p+membershipOffset)
	}
	store := func(database string, conns int) string {
		return fmt.Sprintf(`
      sql:
        pluginName: postgres12
        databaseName: %s
        connectAddr: %s
        connectProtocol: tcp
        user: %s
        password: ""
        maxConns: %d
        maxIdleConns: %d`, database, c.postgresAddress(), postgresUser, conns, conns)
	}
	return fmt.Sprintf(`log: {stdout: true, level: warn}
persistence:
  defaultStore: main
  visibilityStore: visibility
  numHistoryShards: %d
  datastores:
    main:%s
    visibility:%s
global:
  membership: {maxJoinDuration: 30s, broadcastAddress: 127.0.0.1}
  metrics: {prometheus: {timerType: histogram, listenAddress: "127.0.0.1:%d"}}
services:%s
clusterMetadata:
  enableGlobalNamespace: false
  failoverVersionIncrement: 10
  masterClusterName: active
  currentClusterName: active
  clusterInformation:
    active: {enabled: true, initialFailoverVersion: 1, rpcName: frontend, rpcAddress: "%s"}
dcRedirectionPolicy: {policy: noop}
archival: {history: {state: disabled}, visibility: {state: disabled}}
namespaceDefaults: {archival: {history: {state: disabled}, visibility: {state: disabled}}}
dynamicConfigClient: {filepath: "%s", pollInterval: 10s}
`, c.shards, store("temporal", 20), store("visibility", 10), port+metricsOffset, ports.String(), c.addresses()[0], filepath.Join(dir, "dynamic.yaml"))
}

// awaitReady waits until the frontends answer, and creates the namespace default.
func (c *cluster) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for _, address := range c.addresses() {
		for {
			err := register(ctx, address)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s does not answer: %w; the logs are in %s", address, err, c.dir)
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	return nil
}

// register creates the namespace default if it does not exist, and waits until a
// workflow could be listed there.
func register(ctx context.Context, address string) error {
	namespaces, err := client.NewNamespaceClient(client.Options{HostPort: address})
	if err != nil {
		return err
	}
	defer namespaces.Close()
	err = namespaces.Register(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: client.DefaultNamespace, WorkflowExecutionRetentionPeriod: durationpb.New(72 * time.Hour),
	})
	var exists *serviceerror.NamespaceAlreadyExists
	if err != nil && !errors.As(err, &exists) {
		return err
	}
	c, err := client.DialContext(ctx, client.Options{HostPort: address})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: client.DefaultNamespace})
	return err
}

// strike kills a process of a cluster that runs.
func strike(dir, service string) error {
	pattern := service + "*"
	if service == "" {
		pattern = "[fhm]*" // frontend, history, matching
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern+".pid"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no %s runs in %s", service, dir)
	}
	file := files[time.Now().UnixNano()/1000%int64(len(files))]
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(filepath.Base(file), ".pid")
	fmt.Printf("%s, process %d\n", name, pid)
	return kill(name, pid)
}
