package devserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log/tag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// lockedBuffer can be written to and read from concurrently.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start starts a server that must log no warning or error while it lives.
func start(t *testing.T, options Options) *Server {
	t.Helper()
	server, said := startTalking(t, options)
	t.Cleanup(func() {
		if said := said.String(); said != "" {
			t.Errorf("the server said:\n%s", said)
		}
	})
	return server
}

// startTalking starts a server that may log warnings, as it does under load. It
// returns the log as well.
func startTalking(t *testing.T, options Options) (*Server, *lockedBuffer) {
	t.Helper()
	said := &lockedBuffer{}
	options.Log = zerolog.New(said).Level(zerolog.WarnLevel)
	server, err := Start(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the server said:\n%s", said)
		}
	})
	return server, said
}

func dial(t *testing.T, server *Server) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(server.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestSeveralServersInOneProcess(t *testing.T) {
	t.Parallel()
	a, b := start(t, Options{}), start(t, Options{UI: true})
	if a.Address() == b.Address() || a.UIURL() != "" || b.UIURL() == "" || a.DatabaseFile() != "" {
		t.Errorf("%s %s, %q %q", a.Address(), b.Address(), a.UIURL(), b.UIURL())
	}
	ctx := context.Background()
	// They share nothing: what one has, the other does not.
	_, err := workflowservice.NewWorkflowServiceClient(dial(t, a)).RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: "only-in-a", WorkflowExecutionRetentionPeriod: nil,
	})
	if err == nil {
		t.Error("a namespace without a retention was registered") // and the server lives
	}
	list, err := workflowservice.NewWorkflowServiceClient(dial(t, b)).ListNamespaces(ctx, &workflowservice.ListNamespacesRequest{})
	if err != nil || len(list.GetNamespaces()) != 2 { // its own, and temporal-system
		t.Errorf("got %v, %v", list, err)
	}
}

func TestDatabaseFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "what? 100% a #file.db")
	attributes := map[string]enumspb.IndexedValueType{"Table": enumspb.INDEXED_VALUE_TYPE_KEYWORD}
	server := start(t, Options{DatabaseFile: file, Namespaces: []string{"cafe"}, Retention: 5 * time.Hour})
	clusterID := server.identity.ClusterID

	_, err := Start(context.Background(), Options{DatabaseFile: file})
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("a second server on the file: %v", err)
	}
	described, err := workflowservice.NewWorkflowServiceClient(dial(t, server)).DescribeNamespace(context.Background(),
		&workflowservice.DescribeNamespaceRequest{Namespace: "cafe"})
	if got := described.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration(); err != nil || got != 5*time.Hour {
		t.Errorf("the retention is %v, %v", got, err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}

	// The next server on the file is the same cluster, with one more namespace,
	// one more search attribute and another retention.
	server = start(t, Options{DatabaseFile: file, Namespaces: []string{"cafe", "bar"}, SearchAttributes: attributes, Retention: 7 * time.Hour})
	if server.identity.ClusterID != clusterID {
		t.Errorf("the cluster id was %s and is %s", clusterID, server.identity.ClusterID)
	}
	for _, namespace := range []string{"cafe", "bar"} {
		list, err := operatorservice.NewOperatorServiceClient(dial(t, server)).ListSearchAttributes(context.Background(),
			&operatorservice.ListSearchAttributesRequest{Namespace: namespace})
		if err != nil || list.GetCustomAttributes()["Table"] != enumspb.INDEXED_VALUE_TYPE_KEYWORD {
			t.Errorf("%s has %v, %v", namespace, list.GetCustomAttributes(), err)
		}
		described, err := workflowservice.NewWorkflowServiceClient(dial(t, server)).DescribeNamespace(context.Background(),
			&workflowservice.DescribeNamespaceRequest{Namespace: namespace})
		if got := described.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration(); err != nil || got != 7*time.Hour {
			t.Errorf("the retention of %s is %v, %v", namespace, got, err)
		}
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}

	// Without a retention option the namespace keeps its own.
	server = start(t, Options{DatabaseFile: file, Namespaces: []string{"cafe"}})
	described, err = workflowservice.NewWorkflowServiceClient(dial(t, server)).DescribeNamespace(context.Background(),
		&workflowservice.DescribeNamespaceRequest{Namespace: "cafe"})
	if got := described.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration(); err != nil || got != 7*time.Hour {
		t.Errorf("the retention is %v, %v", got, err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}

	// A search attribute cannot change its type. Any client may have made it, so the server
	// starts all the same.
	var said []string
	start(t, Options{DatabaseFile: file, Namespaces: []string{"cafe"}, Notify: func(line string) { said = append(said, line) },
		SearchAttributes: map[string]enumspb.IndexedValueType{"Table": enumspb.INDEXED_VALUE_TYPE_INT}})
	if want := `namespace "cafe": the search attribute Table is of type Keyword, not Int, and stays so`; !slices.Contains(said, want) {
		t.Errorf("it said %q, not %q", said, want)
	}
}

// TestDatabaseFileThatIsNone checks that a file that cannot be used is refused in
// one line, and left as it is.
func TestDatabaseFileThatIsNone(t *testing.T) {
	t.Parallel()
	intact := filepath.Join(t.TempDir(), "intact.db")
	if err := start(t, Options{DatabaseFile: intact}).Stop(); err != nil {
		t.Fatal(err)
	}
	vacuumed := filepath.Join(t.TempDir(), "x.db") // without a WAL beside it
	db, err := openSQLite(intact)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`VACUUM INTO '` + vacuumed + `'`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(vacuumed)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	garbage := []byte(strings.Repeat("garbage ", page/8))
	for name, test := range map[string]struct {
		content []byte
		want    string
	}{
		"intact":           {data, ""},
		"no database":      {garbage, "file is not a database"},
		"empty":            {[]byte{}, "is empty: restore it, or delete it"},
		"a header":         {[]byte("SQLite format 3\x00" + strings.Repeat("\x00", 50)), "cannot be read"},
		"truncated":        {data[:len(data)/2/page*page], "malformed"},
		"a page short":     {data[:len(data)-page], "malformed"},
		"within a page":    {data[:len(data)-page-100], "malformed"},
		"garbage within":   {slices.Concat(data[:10*page], garbage, data[11*page:]), "is damaged: "},
		"garbage at first": {slices.Concat(garbage, data[page:]), "file is not a database"},
		"zeros at the end": {slices.Concat(data[:len(data)-5*page], make([]byte, 5*page)), "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "x.db")
			if err := os.WriteFile(file, test.content, 0o600); err != nil {
				t.Fatal(err)
			}
			server, err := Start(context.Background(), Options{DatabaseFile: file})
			if test.want == "" {
				if err != nil {
					t.Error(err)
				} else if err := server.Stop(); err != nil {
					t.Error(err)
				}
				return
			}
			var database *DatabaseError
			if !errors.As(err, &database) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
			if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, test.content) {
				t.Error("the file was changed", err)
			}
		})
	}
}

// TestDatabaseFileIsGone leaves only the write-ahead log of a database, as of a
// server that was killed. A new database would be mixed with it.
func TestDatabaseFileIsGone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(file+"-wal", []byte("what was there"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(context.Background(), Options{DatabaseFile: file})
	var database *DatabaseError
	if !errors.As(err, &database) || !strings.Contains(err.Error(), "x.db-wal is there") {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(file + "-wal"); err != nil || string(got) != "what was there" {
		t.Errorf("it was changed to %q, %v", got, err)
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := listener.Addr().(*net.TCPAddr).Port
	file := filepath.Join(t.TempDir(), "x.db")
	for name, options := range map[PortName]Options{
		PortGRPC:    {Port: taken},
		PortHTTP:    {HTTPPort: taken},
		PortMetrics: {MetricsPort: taken},
		PortUI:      {UI: true, UIPort: taken},
	} {
		options.DatabaseFile = file
		_, err := Start(context.Background(), options)
		var port *PortError
		if !errors.As(err, &port) || port.Name != name || !strings.Contains(err.Error(), listener.Addr().String()) ||
			!strings.HasSuffix(err.Error(), fmt.Sprintf(" (process %d)", os.Getpid())) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// Nothing was left behind: the lock is free.
	start(t, Options{DatabaseFile: file})
}

func TestInvalidOptions(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]Options{
		"IP":        {IP: "localhost"},
		"UI IP":     {UIIP: "256.0.0.1"},
		"port":      {Port: 65536},
		"namespace": {Namespaces: []string{" "}},
		"retention": {Retention: time.Minute},
	} {
		if server, err := Start(context.Background(), options); err == nil {
			server.Stop()
			t.Errorf("%s: it started", name)
		}
	}
}

// TestCheckDynamicConfig: Temporal would pass over a setting that it does not know, and over
// a value of the wrong type.
func TestCheckDynamicConfig(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		key   string
		value any
		want  string // "" means that it is right
	}{
		{"limit.maxIDLength", 20, ""},
		{"LIMIT.maxidlength", 20, ""},
		{"history.cacheTTL", "5m", ""},
		{"frontend.enableServerVersionCheck", true, ""},
		{"limit.maxIDLenght", 20, "did you mean limit.maxidlength?"},
		{"nonsense", 20, `no setting "nonsense"`},
		{"limit.maxIDLength", "20", "cannot be 20"},
		{"limit.maxIDLength", 20.5, "cannot be 20.5"},
		{"frontend.enableServerVersionCheck", 1, "cannot be 1"},
		{"history.cacheTTL", "soon", "cannot be soon"},
	} {
		err := CheckDynamicConfig(map[string]any{test.key: test.value})
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s=%v: %v, want %q", test.key, test.value, err, test.want)
		}
	}
}

// TestUserSettingsWin checks that the user's settings override the server's own.
func TestUserSettingsWin(t *testing.T) {
	t.Parallel()
	options, err := Options{
		DatabaseFile:  "x.db",
		SQLitePragmas: map[string]string{"synchronous": "off", "cache_size": "-100"},
		DynamicConfig: map[string]any{"matching.rps": 7, "limit.maxIDLength": 99},
	}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	got := pragmas(options)
	if got["synchronous"] != "off" || got["cache_size"] != "-100" || got["journal_mode"] != "wal" {
		t.Errorf("the pragmas are %v", got)
	}
	dsn, queries := databaseDSNs(options, identity{})
	for _, where := range []string{dsn, queries} {
		if !strings.Contains(where, "synchronous%3Doff") || !strings.Contains(where, "cache_size%3D-100&") {
			t.Errorf("a connection has %s", where)
		}
	}
	values := dynamicConfig(options)
	if values[dynamicconfig.MakeKey("matching.rps")] != 7 || values[dynamicconfig.MakeKey("limit.maxIDLength")] != 99 {
		t.Errorf("the dynamic config is %v", values)
	}
}

// TestFatal checks that a fatal message of the Temporal server becomes an error
// instead of the end of the process.
func TestFatal(t *testing.T) {
	t.Parallel()
	s := &Server{alarm: &alarm{failed: make(chan error, 1)}}
	log := logger{log: zerolog.Nop(), alarm: s.alarm}
	err := s.runFatal(func() error {
		log.Fatal("no more", tag.Error(errors.New("out of beans")))
		t.Error("a fatal message returned")
		return nil
	})
	if err == nil || err.Error() != "no more: out of beans" {
		t.Errorf("got %v", err)
	}
	if err := s.runFatal(func() error { return nil }); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestInterruptedStart checks that a start that is interrupted at any moment logs
// nothing and leaves nothing behind.
func TestInterruptedStart(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	attributes := map[string]enumspb.IndexedValueType{}
	file := filepath.Join(t.TempDir(), "x.db")
	began := time.Now()
	start(t, Options{DatabaseFile: file, SearchAttributes: attributes}).Stop()
	whole := time.Since(began)
	for i := range 30 {
		said := &lockedBuffer{}
		ctx, cancel := context.WithCancel(context.Background())
		timer := time.AfterFunc(time.Duration(random.Int64N(int64(whole))), cancel)
		if i < 10 { // ten is the limit
			attributes[fmt.Sprint("Table", i)] = enumspb.INDEXED_VALUE_TYPE_KEYWORD
		}
		server, err := Start(ctx, Options{DatabaseFile: file, SearchAttributes: attributes, Log: zerolog.New(said).Level(zerolog.WarnLevel)})
		if err == nil {
			err = server.Stop()
		} else if errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "context canceled") {
			err = nil
		}
		timer.Stop()
		cancel()
		if err != nil || said.String() != "" {
			t.Errorf("got %v, and it said:\n%s", err, said)
		}
	}
}

// TestPlainLevel checks the level of what the server complains of although nothing
// is wrong.
func TestPlainLevel(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		msg  string
		tags []tag.Tag
		want zerolog.Level
	}{
		{"disk full", []tag.Tag{tag.Error(errors.New("task queue is full"))}, zerolog.WarnLevel},
		{"HTTP API port has not been set. Nexus is off.", nil, zerolog.DebugLevel},
		{"TrailerToContextMetadataInterceptor: Trailer had metadata but context not wrapped", nil, zerolog.DebugLevel},
		{"ShutdownWorker rpc errored during worker shutdown.", nil, zerolog.DebugLevel},
		{"service failures", []tag.Tag{tag.Error(errors.New("task queue shutting down"))}, zerolog.DebugLevel},
		{"service failures", []tag.Tag{tag.Error(context.Canceled)}, zerolog.DebugLevel},
		{"service failures", []tag.Tag{tag.Error(errors.New("operation AddSearchAttributes: context canceled"))}, zerolog.DebugLevel},
		{"service failures", []tag.Tag{tag.Error(errors.New("context canceled while waiting for connections to become ready"))}, zerolog.DebugLevel},
		{"Queue reader unable to retrieve tasks", []tag.Tag{tag.Error(errors.New("shard status unknown"))}, zerolog.DebugLevel},
		{"service failures", []tag.Tag{tag.Error(context.DeadlineExceeded)}, zerolog.WarnLevel},
		{"error creating sdk client", []tag.Tag{tag.Error(errors.New("failed reaching server: Frontend is not healthy yet"))}, zerolog.DebugLevel},
	} {
		if got := plainLevel(zerolog.WarnLevel, test.msg, test.tags); got != test.want {
			t.Errorf("%s: %s", test.msg, got)
		}
	}
}
